"""What both Keras engines run: a network as compiled TensorFlow functions of one batch size, or of a few."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from service.batching import batch_sizes
from service.engines.quiet import native_stderr_held
from service.errors import ConfigurationError

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


class CompiledNetwork:
    """Maps (N, …) inputs of ``dtype`` to one ``float32`` (N, width) array per output of a Keras model.

    Runs in batches of ``batch_size``: smaller groups are padded and larger ones cut, so the function is
    traced once and a row does not hang on how many others came along. With ``buckets`` there are sizes of
    1, 2, 4 … up to ``batch_size``, of which the smallest that fits is taken: a lone row has not to pay for
    a whole batch, and differs by rounding only.

    ``accelerated`` it is compiled by XLA, unless a layer says that it cannot be, as recurrent ones do that
    cuDNN computes. Everything from the inputs on happens on the device, and a batch is on its way there while
    the one before it is computed.
    """

    def __init__(
        self, model: Any, dtype: npt.DTypeLike, *, batch_size: int, buckets: bool, accelerated: bool
    ) -> None:
        model.trainable = False
        self._batch_size = batch_size
        self._dtype = np.dtype(dtype)
        self._shape = tuple(int(side) for side in model.input_shape[1:])
        self._widths = [int(output.shape[-1]) for output in model.outputs]

        def outputs(inputs: Any) -> Any:
            found = model(tf.cast(inputs, tf.float32), training=False)
            return [tf.cast(output, tf.float32) for output in tf.nest.flatten(found)]

        compiles = accelerated and all(layer.supports_jit for layer in model._flatten_layers())
        function = tf.function(outputs, jit_compile=compiles)
        self._functions = {
            size: function.get_concrete_function(tf.TensorSpec((size, *self._shape), self._dtype))
            for size in (batch_sizes(batch_size) if buckets else (batch_size,))
        }

    def __call__(self, inputs: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        results = [np.empty((len(inputs), width), np.float32) for width in self._widths]
        running: deque[tuple[int, int, Any]] = deque()

        def finish() -> None:
            start, count, outputs = running.popleft()
            for result, output in zip(results, outputs, strict=True):
                result[start : start + count] = output.numpy()[:count]

        for start in range(0, len(inputs), self._batch_size):
            part = inputs[start : start + self._batch_size]
            count = len(part)
            size = min(size for size in self._functions if size >= count)
            if count < size:
                part = np.concatenate([part, np.zeros((size - count, *self._shape), part.dtype)])
            running.append((start, count, self._functions[size](tf.constant(part))))
            if len(running) > 1:
                finish()
        while running:
            finish()
        return results

    def warm_up(self) -> None:
        """Run every size once, so that the first frame does not pay for what is set up lazily."""
        for size in self._functions:
            self(np.zeros((size, *self._shape), self._dtype))


@contextmanager
def precision(accelerated: bool | None) -> Iterator[bool]:
    """What layers that are built meanwhile compute in: on a GPU half precision (Micikevicius et al., 2018,
    arXiv:1710.03740), unless they say so themselves.

    ``accelerated`` says otherwise than what the devices say; what holds is handed on.
    """
    import keras

    with native_stderr_held():
        gpus = _share_gpu_memory()
    accelerated = gpus > 0 if accelerated is None else accelerated
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if accelerated else "float32")
    try:
        yield accelerated
    finally:
        keras.config.set_dtype_policy(before)


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
