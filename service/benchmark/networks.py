"""The same network in other hands: ONNX Runtime and OpenCV's own ``cv2.dnn``, where they are installed."""

from __future__ import annotations

import importlib.util
import logging
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.artifact import Artifact, load_artifact
from service.benchmark.clip import read_frames
from service.benchmark.machine import cores
from service.benchmark.rounds import Reading, repeat
from service.errors import BenchmarkError

TOLERANCE: Final = 1e-3
"""Largest difference of a probability from the reference that still counts as the same network."""


class OnnxRuntime:
    """onnxruntime, one image or several at a time."""

    def __init__(self, model: str, onnx: Path, clip: Path, batch_size: int) -> None:
        need("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        self._session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name
        self._inputs = Inputs(model, clip, batch_size)
        self._inputs.check(self._run)

    def measure(self, seconds: float) -> Reading:
        return repeat(lambda: len(self._run(self._inputs.next())), seconds)

    def close(self) -> None:
        pass

    def _run(self, inputs: Any) -> Any:
        return self._session.run(None, {self._name: inputs})[0]


class OpenCvDnn:
    """``cv2.dnn`` with the engine that OpenCV chooses itself."""

    def __init__(self, model: str, onnx: Path, clip: Path, batch_size: int) -> None:
        import cv2

        self._net = cv2.dnn.readNetFromONNX(str(onnx))
        self._inputs = Inputs(model, clip, batch_size)
        self._inputs.check(self._run)

    def measure(self, seconds: float) -> Reading:
        return repeat(lambda: len(self._run(self._inputs.next())), seconds)

    def close(self) -> None:
        pass

    def _run(self, inputs: Any) -> Any:
        self._net.setInput(inputs)
        return self._net.forward()


class Inputs:
    """Batches as ``float32``, and what the reference said of the first of them (stored beside the file)."""

    def __init__(self, model: str, clip: Path, batch_size: int) -> None:
        preprocessing = load_artifact(model).preprocessing
        images = [preprocessing.model_input(image) for image in read_frames(clip, batch_size * 4)]
        images *= -(-batch_size // len(images))
        self._batches = [
            np.stack(images[start : start + batch_size]).astype(np.float32)
            for start in range(0, len(images) - batch_size + 1, batch_size)
        ]
        self._cycle = cycle(self._batches)

    def next(self) -> Any:
        return next(self._cycle)

    def check(self, run: Any) -> None:
        """Raises ``BenchmarkError`` for outputs that are no probabilities."""
        sums = np.asarray(run(self._batches[0])).sum(axis=1)
        if not np.allclose(sums, 1, atol=TOLERANCE):
            raise BenchmarkError(f"its answers are no probabilities: they sum up to {sums[0]:.3f}")


def export_onnx(model: str, path: Path) -> None:
    """Write the reference network as ONNX by tf2onnx; one conversion for all who read it.

    Raises ``BenchmarkError`` where tf2onnx is not installed.
    """
    need("tf2onnx")
    _convert(load_artifact(model), path)


def _convert(artifact: Artifact, path: Path) -> None:
    import service.engines.keras  # noqa: F401  sets TensorFlow up before it is imported

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    import tensorflow as tf
    import tf2onnx

    network = artifact.build()
    shape = (None, artifact.preprocessing.height, artifact.preprocessing.width, 3)
    function = tf.function(lambda image: network(image, training=False))
    tf2onnx.convert.from_function(
        function, input_signature=(tf.TensorSpec(shape, tf.float32, name="image"),), output_path=str(path)
    )


def need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise BenchmarkError(f"{package} is not installed (pip install 'video-events[benchmark]')")
