"""The reference engine, and the one for GPUs: TensorFlow through compiled functions of fixed batch sizes."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.artifact import with_features
from service.engines.quiet import native_stderr_held
from service.errors import ConfigurationError
from service.types import Image

# Read by TensorFlow when it is first imported, so this has to stand before the import: its notes on
# devices and instruction sets would break into the progress bar.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# So has Keras' backend, of which a shell may name another to train with.
os.environ["KERAS_BACKEND"] = "tensorflow"
if "keras" in sys.modules and (backend := sys.modules["keras"].backend.backend()) != "tensorflow":
    raise ConfigurationError(
        f"engine 'tensorflow' cannot run in a process whose Keras runs on {backend!r}: start another one, "
        "or set KERAS_BACKEND=tensorflow before it starts"
    )
with native_stderr_held():
    import tensorflow as tf

logging.getLogger("absl").setLevel(logging.ERROR)
logging.getLogger("tensorflow").setLevel(logging.ERROR)


class ImageToInput(Protocol):
    @property
    def views(self) -> tuple[object, ...]: ...

    def model_input(self, image: Image, view: int = 0) -> Image: ...


class KerasArtifact(Protocol):
    """What this engine needs of a stored model (``models.artifact.Artifact``)."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def preprocessing(self) -> ImageToInput: ...

    def build(self) -> Any:
        """The Keras model: (N, h, w, 3) values 0..255 to (N, classes) probabilities."""
        ...


class KerasClassifier:
    """Runs a stored model in batches of one fixed size, or of a few.

    Smaller groups are padded and larger ones cut, so the function is traced once and a frame's
    probabilities do not hang on how many others came along. With ``buckets`` there are sizes of 1, 2, 4 …
    up to ``batch_size``, of which the smallest that fits is taken: a lone frame has not to pay for a whole
    batch, and its probabilities differ by rounding only. For use from one thread.

    On a GPU the network is compiled by XLA and computes in half precision (Micikevicius et al., 2018,
    arXiv:1710.03740) up to the probabilities, which are in single precision; ``accelerated`` says
    otherwise than what the devices say. Everything from ``uint8`` on happens on the device, and a batch
    is on its way there while the one before it is computed.
    """

    def __init__(
        self,
        artifact: KerasArtifact,
        *,
        batch_size: int = 8,
        buckets: bool = False,
        accelerated: bool | None = None,
    ) -> None:
        self._preprocessing = artifact.preprocessing
        self._labels = tuple(artifact.labels)
        self._batch_size = batch_size
        with native_stderr_held():
            gpus = _share_gpu_memory()
        accelerated = gpus > 0 if accelerated is None else accelerated
        with _policy("mixed_float16" if accelerated else "float32"):
            model = with_features(artifact.build())
        model.trainable = False
        height, width, channels = model.input_shape[1:]
        self._input_shape = (int(height), int(width), int(channels))
        self._widths = [int(output.shape[-1]) for output in model.outputs]

        def outputs(inputs: Any) -> Any:
            found = model(tf.cast(inputs, tf.float32), training=False)
            return [tf.cast(output, tf.float32) for output in found]

        function = tf.function(outputs, jit_compile=accelerated)
        powers = (1 << power for power in range(batch_size.bit_length()))
        sizes = sorted(
            {*(size for size in powers if size < batch_size), batch_size} if buckets else {batch_size}
        )
        self._functions = {
            size: function.get_concrete_function(tf.TensorSpec((size, *self._input_shape), tf.uint8))
            for size in sizes
        }

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def frames(self) -> int:
        return 1

    @property
    def views(self) -> int:
        return len(self._preprocessing.views)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._preprocessing.model_input(image, view)

    def warm_up(self) -> None:
        """Run every size once, so that the first frame does not pay for what is set up lazily."""
        for size in self._functions:
            self.classify(np.zeros((size, *self._input_shape), np.uint8))

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self.embed(inputs)[0]

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        probabilities, features = (np.empty((len(inputs), width), np.float32) for width in self._widths)
        running: deque[tuple[int, int, Any]] = deque()

        def finish() -> None:
            start, count, outputs = running.popleft()
            probabilities[start : start + count] = outputs[0].numpy()[:count]
            features[start : start + count] = outputs[1].numpy()[:count]

        for start in range(0, len(inputs), self._batch_size):
            part = inputs[start : start + self._batch_size]
            count = len(part)
            size = min(size for size in self._functions if size >= count)
            if count < size:
                padding = np.zeros((size - count, *self._input_shape), np.uint8)
                part = np.concatenate([part, padding])
            running.append((start, count, self._functions[size](tf.constant(part))))
            if len(running) > 1:
                finish()
        while running:
            finish()
        return np.clip(probabilities, 0.0, 1.0, out=probabilities), features

    def reset(self) -> None:
        """Nothing to forget: every input is judged alone."""


def finds_gpu() -> bool:
    """Whether TensorFlow has a GPU to run on."""
    with native_stderr_held():
        return bool(tf.config.list_physical_devices("GPU"))


def _share_gpu_memory() -> int:
    """Take GPU memory as needed instead of all of it at once; return how many GPUs there are."""
    devices = tf.config.list_physical_devices("GPU")
    for device in devices:
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # already in use by this process: too late, and harmless
            break
    return len(devices)


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """What layers that are built meanwhile compute in, unless they say so themselves."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
