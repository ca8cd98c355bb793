"""From an image of any size to the input of a network: one code for training and serving."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import ArtifactError

Image = npt.NDArray[np.uint8]


class Fit(StrEnum):
    """How an image that is not square becomes the square that the network wants."""

    SQUEEZE = "squeeze"
    """Scale both sides independently: nothing is lost, proportions are."""
    CROP = "crop"
    """Scale the short side, keep the middle: proportions stay, the edges are lost."""
    LETTERBOX = "letterbox"
    """Scale the long side, fill the rest with black: nothing is lost but resolution."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to see an image: how it is made square, and whether left and right change places."""

    fit: Fit = Fit.SQUEEZE
    mirrored: bool = False

    def __str__(self) -> str:
        return f"{self.fit.value} {_MIRRORED}" if self.mirrored else self.fit.value

    @classmethod
    def parse(cls, text: str) -> View:
        """What ``str`` made. Raises ValueError for anything else."""
        fit, _, mirrored = text.partition(" ")
        if mirrored not in ("", _MIRRORED):
            raise ValueError(f"no view {text!r}")
        return cls(Fit(fit), bool(mirrored))


_MIRRORED = "mirrored"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What happens to an image before a network sees it.

    ``height`` and ``width`` are pixels. A network that judges single frames may see them in several
    ``views`` in turn, one view a frame: what is said over time is then of all views, as if each frame had
    been seen in all of them (multi-crop testing, Krizhevsky et al., 2012), at the price of one.

    The rest is done by the network's own first layers: ``mean`` is subtracted from each channel in the order
    of ``channels`` (``bgr``, ``rgb`` or ``grey``, which has one mean), in units of 0 to 255; ``scale``, one
    for all or one for each channel, multiplies the difference; ``standardise`` then gives each image zero
    mean and unit deviation. The means of ImageNet in OpenCV's order are those of the Caffe ResNet (He et
    al., 2015).
    """

    height: int = 224
    width: int = 224
    views: tuple[View, ...] = (View(),)
    channels: str = "bgr"
    mean: tuple[float, ...] = (103.939, 116.779, 123.68)
    scale: float | tuple[float, ...] = 1.0
    standardise: bool = False

    def __post_init__(self) -> None:
        sides = (self.height, self.width)
        if not all(type(side) is int and side > 0 for side in sides):
            raise ArtifactError(f"height and width {sides!r} cannot be understood: whole pixels are wanted")
        if not self.views:
            raise ArtifactError(f"views {self.views!r} cannot be understood: there has to be one")
        wanted = {"bgr": 3, "rgb": 3, "grey": 1}.get(self.channels)
        if wanted is None:
            raise ArtifactError(f"channels {self.channels!r} cannot be understood; there are bgr, rgb, grey")
        if len(self.mean) != wanted:
            raise ArtifactError(
                f"mean {self.mean!r} cannot be understood: {self.channels} has {wanted} channels"
            )
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if len(scales) not in (1, wanted) or not all(map(_is_number, (*self.mean, *scales))):
            raise ArtifactError(
                f"mean {self.mean!r} and scale {self.scale!r} cannot be understood: numbers are wanted, one "
                f"or {wanted} to scale by"
            )
        if not isinstance(self.standardise, bool):
            raise ArtifactError(
                f"standardise {self.standardise!r} cannot be understood: true or false is wanted"
            )

    def model_input(self, image: Image, view: int = 0) -> Image:
        """Resize an H×W×3 ``uint8`` BGR image to ``height``×``width``×3, still ``uint8`` BGR.

        ``view`` counts on from the last to the first again.
        """
        seen = self.views[view % len(self.views)]
        fitted = fit_image(image, self.height, self.width, seen.fit)
        return np.asarray(cv2.flip(fitted, 1), np.uint8) if seen.mirrored else fitted

    def feeding_apart(self, other: Preprocessing) -> tuple[str, Any, Any] | None:
        """Name and both values of the first thing in which the network's own first layers differ from those
        of ``other``, or ``None``: weights that were trained for the one do not fit the other."""
        for name in ("channels", "mean", "scale", "standardise"):
            here, there = getattr(self, name), getattr(other, name)
            if here != there:
                return name, here, there
        return None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"views": [str(view) for view in self.views]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Preprocessing:
        """Raises ArtifactError for unknown fields or values.

        Cards of before there were views name one ``fit``.
        """
        try:
            rest = dict(fields)
            views = rest.pop("views") if "views" in rest else [rest.pop("fit")]
            scale = fields["scale"]
            return cls(
                **{
                    **rest,
                    "views": tuple(map(View.parse, views)),
                    "mean": tuple(fields["mean"]),
                    "scale": tuple(scale) if isinstance(scale, list) else scale,
                }
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"preprocessing {fields!r} cannot be understood: {error}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def fit_image(image: Image, height: int, width: int, fit: Fit) -> Image:
    """Bring an H×W×3 image to ``height``×``width`` in the way that ``fit`` names."""
    source_height, source_width = image.shape[:2]
    if fit is Fit.SQUEEZE:
        return resize(image, height, width)
    if fit is Fit.CROP:
        scale = max(height / source_height, width / source_width)
        crop_height = min(source_height, max(1, round(height / scale)))
        crop_width = min(source_width, max(1, round(width / scale)))
        top = (source_height - crop_height) // 2
        left = (source_width - crop_width) // 2
        return resize(image[top : top + crop_height, left : left + crop_width], height, width)
    scale = min(height / source_height, width / source_width)
    inner_height = min(height, max(1, round(source_height * scale)))
    inner_width = min(width, max(1, round(source_width * scale)))
    top = (height - inner_height) // 2
    left = (width - inner_width) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = resize(image, inner_height, inner_width)
    return canvas


def resize(image: Image, height: int, width: int) -> Image:
    """Resize without aliasing: area averaging to shrink, bilinear to enlarge.

    What is far too large is halved first: means of 2×2 pixels cost a fraction of those of other areas.
    """
    for _ in range(halvings(image.shape[0], image.shape[1], height, width)):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def halvings(height: int, width: int, wanted_height: int, wanted_width: int) -> int:
    """How often a picture may be halved before it is resized to what is wanted."""
    number = 0
    while _halves(height, wanted_height) and _halves(width, wanted_width):
        height, width, number = height // 2, width // 2, number + 1
    return number


def _halves(side: int, wanted: int) -> bool:
    return side >= 3 * wanted and side % 2 == 0
