"""A trained network as a function, in whatever runs it fastest on this machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def fastest(network: Any, precision: str = "float32") -> Callable[[Floats], Floats]:
    """``network`` as a function: through OpenVINO where that is installed and there is no GPU, else Keras.

    OpenVINO needs a third of the time on CPUs; what comes of it differs by rounding only. With ``bfloat16``
    it computes in that where the processor can, in half the time again. Weights are taken as they are when
    images of a size first go through.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with contextlib.suppress(ImportError):
            from models.openvino_library import has_bfloat16, openvino

            if not tf.config.list_physical_devices("GPU"):
                core = openvino.Core()
                bf16 = precision == "bfloat16" and has_bfloat16(core)
                return _InOpenVino(network, "bf16" if bf16 else "f32", tf, core)
    return _InKeras(network)


class _InKeras:
    """Fills up batches that are smaller than one before: XLA compiles anew for each size, long on a GPU."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._largest = 0

    def __call__(self, images: Floats) -> Floats:
        count = len(images)
        self._largest = max(self._largest, count)
        missing = np.zeros((self._largest - count, *images.shape[1:]), images.dtype)
        return np.asarray(self._network.predict_on_batch(np.concatenate([images, missing])))[:count]


class _InOpenVino:
    def __init__(self, network: Any, hint: str, tf: Any, core: Any) -> None:
        self._network = network
        self._hint = hint
        self._tf = tf
        self._core = core
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, images: Floats) -> Floats:
        size = images.shape[1:]
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        return np.asarray(self._compiled[size](images)[0])

    def _compile(self, size: tuple[int, ...]) -> Any:
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        spec = self._tf.TensorSpec((None, *size), self._tf.float32)
        function = self._tf.function(lambda images: self._network(images, training=False))
        constant = convert_variables_to_constants_v2(function.get_concrete_function(spec))
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "network.pb"
            graph.write_bytes(constant.graph.as_graph_def().SerializeToString())
            network = self._core.read_model(graph)
        return self._core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": self._hint})
