"""An engine alone: batches that are ready in memory, nothing else to do. The ceiling of everything."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.artifact import load_artifact
from models.precision import Precision
from service.benchmark.clip import read_frames
from service.benchmark.rounds import Repeated
from service.engines import Engine
from service.engines.stored import open_model
from service.errors import BenchmarkError
from service.types import Classifier, Image

INPUTS: Final = 32


def engine_alone(model: str, engine: Engine, clip: Path, batch_size: int) -> Repeated:
    """Any engine of the service with the network that it serves."""
    return _alone(open_model(load_artifact(model), engine, batch_size=batch_size), clip, batch_size)


def openvino_alone(
    model: str, precision: Precision, converted: Path, clip: Path, batch_size: int
) -> Repeated:
    """OpenVINO in the one precision or the other.

    ``converted`` is the network in single precision, for a model that was exported in 8 bits only. Raises
    ``BenchmarkError`` where there is no network to run.
    """
    artifact = load_artifact(model)
    network = artifact.folder / precision.files[0]
    if precision not in artifact.precisions:
        if precision is not Precision.FP32:
            raise BenchmarkError(f"the model holds no {precision} network; video-events export makes it")
        network = converted
    if not network.is_file():
        raise BenchmarkError("the network could not be converted")
    from service.engines.openvino import OpenvinoClassifier

    classifier = OpenvinoClassifier(artifact, network, batch_size=batch_size)
    classifier.warm_up()
    return _alone(classifier, clip, batch_size)


def convert_openvino(model: str, path: Path) -> None:
    """Write the network in single precision to ``path`` (.xml) and the weights beside it."""
    import service.engines.compiled  # noqa: F401  sets TensorFlow up before it is imported
    from models.openvino import convert
    from models.openvino_library import openvino

    openvino.save_model(convert(load_artifact(model)), path, compress_to_fp16=False)


def _alone(classifier: Classifier, clip: Path, batch_size: int) -> Repeated:
    batches = cycle(batches_of(classifier.model_input, clip, batch_size))
    return Repeated(lambda: len(classifier.classify(next(batches))))


def batches_of(
    model_input: Callable[[Image], Image], clip: Path, batch_size: int
) -> list[npt.NDArray[np.uint8]]:
    """Model inputs of the clip's first frames as (``batch_size``, h, w, 3) arrays, at least one."""
    inputs = [model_input(image) for image in read_frames(clip, max(INPUTS, batch_size))]
    while len(inputs) < batch_size:
        inputs += inputs
    return [
        np.stack(inputs[start : start + batch_size])
        for start in range(0, len(inputs) - batch_size + 1, batch_size)
    ]
