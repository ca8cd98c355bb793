"""TensorFlow for models that judge windows of frames: two networks, one before and one behind the window."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.engines.compiled import CompiledNetwork, precision
from service.types import Image, ImageToInput


class Parts(Protocol):
    """A clip model in two Keras models (``models.architectures.clips.ClipParts``)."""

    @property
    def frames(self) -> int: ...

    @property
    def encode(self) -> Any | None:
        """(N, h, w, 3) values 0..255 to (N, d) features, or None where ``decide`` takes the frames."""
        ...

    @property
    def decide(self) -> Any:
        """(N, frames, d) features to (N, classes) probabilities."""
        ...


class ClipArtifact(Protocol):
    """What this engine needs of a stored clip model (``models.artifact.Artifact``)."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def preprocessing(self) -> ImageToInput: ...

    def build_clip_parts(self) -> Parts: ...


class KerasClipEngine:
    """A ``types.ClipEngine``, whose two functions run as that of ``KerasClassifier`` does.

    For use from one thread.
    """

    views = 1

    def __init__(
        self,
        artifact: ClipArtifact,
        *,
        batch_size: int = 8,
        buckets: bool = False,
        accelerated: bool | None = None,
    ) -> None:
        self._preprocessing = artifact.preprocessing
        self._labels = tuple(artifact.labels)
        with precision(accelerated) as is_accelerated:
            parts = artifact.build_clip_parts()
            compiled = partial(
                CompiledNetwork, batch_size=batch_size, buckets=buckets, accelerated=is_accelerated
            )
            self._encode = None if parts.encode is None else compiled(parts.encode, np.uint8)
            self._decide = compiled(parts.decide, np.uint8 if parts.encode is None else np.float32)
        self._frames = parts.frames

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def frames(self) -> int:
        return self._frames

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._preprocessing.model_input(image)

    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return inputs if self._encode is None else self._encode(inputs)[0]

    def decide(self, windows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        (results,) = self._decide(windows)
        return np.clip(results, 0.0, 1.0, out=results)

    def warm_up(self) -> None:
        """Run every size once, so that the first frame does not pay for what is set up lazily."""
        for function in (self._encode, self._decide):
            if function is not None:
                function.warm_up()
