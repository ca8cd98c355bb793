"""The same network in other hands: ONNX Runtime and OpenCV's own ``cv2.dnn``, where they are installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.artifact import load_artifact
from service.benchmark.engines import batches_of
from service.benchmark.rounds import Repeated
from service.engines.devices import cores
from service.errors import BenchmarkError

TOLERANCE: Final = 1e-3
"""Largest difference of a probability from the reference that still counts as the same network."""
CHECKED: Final = 8
"""Inputs for which the reference's answers are kept."""

Run = Callable[[Any], Any]
"""From (N, h, w, 3) ``float32`` images, 0 to 255, BGR, to (N, classes) probabilities."""


def onnx_runtime(model: str, onnx: Path, clip: Path, batch_size: int) -> Repeated:
    """onnxruntime, one image or several at a time. Raises as ``check`` does."""
    need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(_converted(onnx), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _rival(lambda images: session.run(None, {name: images})[0], model, onnx, clip, batch_size)


def opencv_dnn(model: str, onnx: Path, clip: Path, batch_size: int) -> Repeated:
    """``cv2.dnn`` with the engine that OpenCV chooses itself. Raises as ``check`` does."""
    import cv2

    network = cv2.dnn.readNetFromONNX(_converted(onnx))

    def run(images: Any) -> Any:
        network.setInput(images)
        return network.forward()

    return _rival(run, model, onnx, clip, batch_size)


def check(answers: Any, reference: Any) -> None:
    """Raises ``BenchmarkError`` for (N, classes) ``answers`` that are not the reference's to the same images.

    Of more or fewer than ``CHECKED`` images, those that both have judged are compared.
    """
    count = min(len(answers), len(reference))
    found, wanted = np.asarray(answers)[:count], reference[:count]
    if found.shape != wanted.shape:
        raise BenchmarkError(f"its answers have the shape {found.shape}, not {wanted.shape}")
    difference = float(np.abs(found - wanted).max())
    if not difference <= TOLERANCE:
        raise BenchmarkError(f"its probabilities are up to {difference:.2g} from those of the reference")


def export_onnx(model: str, clip: Path, path: Path) -> None:
    """Write the reference network as ONNX by tf2onnx; one conversion for all who read it.

    What the network itself says of the clip's first frames is written beside it. Raises ``BenchmarkError``
    where tf2onnx is not installed, and for a network that judges windows of frames.
    """
    need("tf2onnx")
    import service.engines.compiled  # noqa: F401  sets TensorFlow up before it is imported

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    import tensorflow as tf
    import tf2onnx

    tf.config.experimental.enable_tensor_float_32_execution(False)  # a GPU would round more than is tolerated
    artifact = load_artifact(model)
    if artifact.judges_clips:
        raise BenchmarkError(f"{model} judges windows of frames; only networks of frames are converted")
    network = artifact.build()
    inputs = batches_of(artifact.preprocessing.model_input, clip, CHECKED)[0]
    np.save(_reference(path), network(inputs.astype(np.float32), training=False).numpy())
    function = tf.function(lambda image: network(image, training=False))
    shape = (None, *inputs.shape[1:])
    tf2onnx.convert.from_function(
        function, input_signature=(tf.TensorSpec(shape, tf.float32, name="image"),), output_path=str(path)
    )


def need(package: str) -> None:
    """Raises ``BenchmarkError`` where it is not installed."""
    if importlib.util.find_spec(package) is None:
        raise BenchmarkError(f"{package} is not installed (pip install 'video-events[benchmark]')")


def _rival(run: Run, model: str, onnx: Path, clip: Path, batch_size: int) -> Repeated:
    inputs = batches_of(load_artifact(model).preprocessing.model_input, clip, batch_size)
    batches = [batch.astype(np.float32) for batch in inputs]
    check(run(batches[0]), np.load(_reference(onnx)))
    turn = cycle(batches)
    return Repeated(lambda: len(run(next(turn))))


def _converted(onnx: Path) -> str:
    if not onnx.is_file():
        raise BenchmarkError("the network could not be converted")
    return str(onnx)


def _reference(onnx: Path) -> Path:
    return onnx.with_suffix(".npy")
