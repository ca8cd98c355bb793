"""A folder or a numbered pattern of still images, read as video."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from models.data.listing import IMAGE_SUFFIXES
from service.errors import NoFramesError, SourceError
from service.types import Frame, Image, SourceProperties

_SUFFIXES = IMAGE_SUFFIXES | {".jp2", ".ppm", ".tif", ".tiff"}
"""What a model learns from, and what else frames of video are kept in. A folder to train from may not have
those: of some of their kinds OpenCV makes other pictures (12 bits in a TIFF are black), which is seen at once
in an annotated video and never in a trained model.
"""
_HEAD = 1 << 16
"""Bytes of an image in which it says whether it moves."""


def find_images(path: Path) -> list[Path]:
    """Return the images that ``path`` stands for in order of their numbers; empty if it names none.

    ``path`` is one image, a directory of images, or a pattern with one number (``frames/%04d.jpg``). One
    that moves (animated PNG or WebP) is a video and no image. Raises OSError.
    """
    if path.suffix.lower() in _SUFFIXES and path.is_file():
        return [] if _is_animated(path) else [path]
    if path.is_dir():
        found = [child for child in path.iterdir() if child.suffix.lower() in _SUFFIXES and child.is_file()]
        return sorted(found, key=_by_number)
    parts = re.split(r"%0?\d*d", path.name)
    if len(parts) != 2 or path.suffix.lower() not in _SUFFIXES or not path.parent.is_dir():
        return []
    pattern = re.compile(re.escape(parts[0]) + r"\d+" + re.escape(parts[1]))
    found = [child for child in path.parent.iterdir() if pattern.fullmatch(child.name) and child.is_file()]
    return sorted(found, key=_by_number)


class ImageSequence:
    """Reads images one after another at a fixed rate; those that cannot be decoded are left out.

    Meets the Protocol ``Source``. Leaving images out counts as having ended early.
    """

    def __init__(self, paths: list[Path], name: str, fps: float) -> None:
        """Raise NoFramesError if not one of ``paths`` can be decoded."""
        self._paths = paths
        self._name = name
        self._position = 0
        self._ended = False
        self._refusal = ""
        self.frames_read = 0
        self._fps = fps
        self._first = self._decode()
        if self._first is None:
            raise NoFramesError(
                f"{name}: not one of {len(paths)} images can be decoded{self._refusal}; are they complete?"
            )
        height, width = self._first.shape[:2]
        self.properties = SourceProperties(width, height, fps, len(paths), is_live=False)

    def read(self) -> Frame | None:
        """Return the next image, or None at the end. Raises SourceError after ``close``."""
        image, self._first = self._first, None
        if image is None:
            image = self._decode()
        if image is None:
            self._ended = True
            return None
        index = self.frames_read
        self.frames_read += 1
        return Frame(self._name, index, index / self._fps, time.monotonic(), image)

    @property
    def ended_early(self) -> bool:
        """Whether images had to be left out."""
        return self._ended and self.frames_read < len(self._paths)

    @property
    def ending(self) -> str | None:
        """Say how many images were left out, or None."""
        if not self.ended_early:
            return None
        decoded = f"only {self.frames_read} of {len(self._paths)} images could be decoded"
        return f"{self._name}: {decoded}{self._refusal}"

    def close(self) -> None:
        """Read no more."""
        self._position = -1
        self._first = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _decode(self) -> Image | None:
        if self._position < 0:
            raise SourceError(f"{self._name}: read after close")
        while self._position < len(self._paths):
            path = self._paths[self._position]
            self._position += 1
            try:
                # Of its bytes: a name that is not UTF-8 would be the end of ``imread``, and of this process.
                data = np.frombuffer(path.read_bytes(), np.uint8)
                image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
            except OSError:
                continue
            except cv2.error as error:  # more pixels than OpenCV takes, or a damaged header that says so
                self._refusal = f" ({path.name}: {error.err})"
                continue
            if image is not None:
                return np.asarray(image, np.uint8)
        return None


def _is_animated(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head.partition(b"IDAT")[0]
    return head[8:16] == b"WEBPVP8X" and len(head) > 20 and bool(head[20] & 2)


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Sort key by which 2.jpg comes before 10.jpg."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", path.name)
        if part
    ]
