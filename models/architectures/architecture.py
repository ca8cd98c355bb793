"""What the rest of the project knows of a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.preprocessing import Preprocessing
from models.settings import TrainingSettings

FEATURES = "features"
HEAD_PREFIX = "head_"


class Kind(StrEnum):
    FRAME = "frame"
    """Judges one image: (N, h, w, 3)."""
    CLIP = "clip"
    """Judges a window of frames, the oldest first: (N, t, h, w, 3)."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network: how it is built, what it takes, how it is best trained, where its weights come from.

    ``network(x, classes, **options)`` turns normalised images into (N, ``classes``) logits; its
    keyword-only parameters with their defaults are the options. A clip network has the option ``frames``.
    The layer named ``features`` gives (N, d) features, and everything after it is the head; layers of the
    head that have weights are named ``head_…``. ``stages`` are the names that ``unfreeze`` takes, each with
    its first layer, from the input upwards. ``load_weights`` fills a network with pretrained weights, from a
    folder or from the internet; networks without it are trained from scratch. ``any_size`` says that the
    images in training may have another size than those in serving. With an ``embedding_loss`` (see
    ``metric_learning``) it is the features that are trained, and the head is the labels' prototypes.
    """

    name: str
    kind: Kind
    paper: str
    network: Callable[..., Any]
    preprocessing: Preprocessing
    settings: TrainingSettings
    features: str = FEATURES
    stages: Mapping[str, str] = field(default_factory=dict)
    load_weights: Callable[[Any, Path | None], None] | None = None
    any_size: bool = False
    embedding_loss: Callable[[Any, Any], Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Names of the options with their defaults."""
        parameters = inspect.signature(self.network).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` with the defaults of those that are not in it; raises ModelError for a strange one."""
        strange = sorted(options.keys() - self.options.keys())
        if strange:
            known = ", ".join(self.options) or "none"
            raise ModelError(
                f"architecture {self.name} has no option {', '.join(strange)}; its options: {known}"
            )
        return self.options | dict(options)

    def build(
        self,
        classes: int,
        preprocessing: Preprocessing | None = None,
        *,
        any_size: bool = False,
        **options: Any,
    ) -> Any:
        """Return a Keras model from images of values 0 to 255 (BGR) to (N, ``classes``) logits.

        The input is (N, h, w, 3), or (N, t, h, w, 3) of a clip network, with the height and width of
        ``preprocessing`` unless the network takes ``any_size``. Grey conversion, subtraction of means and
        standardisation are the first layers, so that they cannot differ between training and serving.
        Weights are random. Raises ModelError for an option that does not exist or a size that is too small.
        """
        import keras

        from models.architectures.normalisation import normalise

        preprocessing = preprocessing or self.preprocessing
        options = self.complete(options)
        free = any_size and self.any_size
        size = (None, None) if free else (preprocessing.height, preprocessing.width)
        window = (options["frames"],) if self.kind is Kind.CLIP else ()
        inputs = keras.Input((*window, *size, 3), name="image")
        try:
            logits = self.network(normalise(inputs, preprocessing), classes, **options)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"architecture {self.name} cannot be built for {classes} labels, "
                f"{preprocessing.width}×{preprocessing.height} pixels and {options}: {error}"
            ) from error
        return keras.Model(inputs, logits, name=self.name.replace(":", "_"))
