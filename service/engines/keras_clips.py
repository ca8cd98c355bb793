"""TensorFlow for models that judge windows of frames: two compiled functions, one before and one behind the
window."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.engines.keras import ImageToInput, _share_gpu_memory
from service.engines.quiet import native_stderr_held
from service.types import Image


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
    """A ``types.ClipEngine``. Both functions run in batches of fixed sizes, as ``KerasClassifier`` does.

    For use from one thread.
    """

    views = 1

    def __init__(self, artifact: ClipArtifact, *, batch_size: int = 8, buckets: bool = False) -> None:
        self._preprocessing = artifact.preprocessing
        self._labels = tuple(artifact.labels)
        with native_stderr_held():
            _share_gpu_memory()
        parts = artifact.build_clip_parts()
        import tensorflow as tf

        self._frames = parts.frames
        self._encode = None if parts.encode is None else _Batched(parts.encode, tf.uint8, batch_size, buckets)
        inputs = tf.uint8 if parts.encode is None else tf.float32
        self._decide = _Batched(parts.decide, inputs, batch_size, buckets)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def frames(self) -> int:
        return self._frames

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._preprocessing.model_input(image)

    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return inputs if self._encode is None else self._encode(inputs)

    def decide(self, windows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        results = self._decide(windows)
        return np.clip(results, 0.0, 1.0, out=results)

    def warm_up(self) -> None:
        """Run every size once, so that the first frame does not pay for what is set up lazily."""
        for function in (self._encode, self._decide):
            if function is not None:
                function.warm_up()


class _Batched:
    """A Keras model as a compiled function that runs in batches of one size, or of powers of two up to it."""

    def __init__(self, model: Any, dtype: Any, batch_size: int, buckets: bool) -> None:
        import tensorflow as tf

        model.trainable = False
        self._batch_size = batch_size
        self._shape = tuple(int(side) for side in model.input_shape[1:])
        self._dtype = dtype
        self._constant = tf.constant
        self._width = int(model.output_shape[-1])

        def outputs(inputs: Any) -> Any:
            return model(tf.cast(inputs, tf.float32), training=False)

        function = tf.function(outputs)
        powers = (1 << power for power in range(batch_size.bit_length()))
        sizes = sorted(
            {*(size for size in powers if size < batch_size), batch_size} if buckets else {batch_size}
        )
        self._functions = {
            size: function.get_concrete_function(tf.TensorSpec((size, *self._shape), dtype)) for size in sizes
        }

    def __call__(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        results = np.empty((len(inputs), self._width), np.float32)
        for start in range(0, len(inputs), self._batch_size):
            part = inputs[start : start + self._batch_size]
            count = len(part)
            size = min(size for size in self._functions if size >= count)
            if count < size:
                part = np.concatenate([part, np.zeros((size - count, *self._shape), part.dtype)])
            results[start : start + count] = self._functions[size](self._constant(part)).numpy()[:count]
        return results

    def warm_up(self) -> None:
        for size in self._functions:
            self(np.zeros((size, *self._shape), self._dtype.as_numpy_dtype))
