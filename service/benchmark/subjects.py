"""Who takes part in the rounds, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import cv2

from models.precision import Precision
from service.benchmark.engines import engine_alone, openvino_alone
from service.benchmark.lecture import NAME as BASELINE
from service.benchmark.lecture import LectureLoop
from service.benchmark.networks import onnx_runtime, opencv_dnn
from service.benchmark.rounds import Candidate, Subject
from service.benchmark.stages import (
    Decoding,
    Writing,
    batching,
    drawing,
    encoding,
    interpreting,
    resizing,
)
from service.benchmark.whole import Pipeline
from service.config import RunSettings
from service.engines import Engine

ONNX: Final = "network.onnx"
FP32: Final = "network.xml"
PIPELINE: Final = "pipeline"
ENGINE: Final = "engine"
STAGES: Final = ("decode", "resize", "batch", ENGINE, "interpret", "draw", "encode", "write")
"""In the order in which a frame meets them."""


def caption(name: str) -> str:
    """A candidate's name as a person reads it; the number at its end is of frames that go in together.

    >>> caption("openvino_int8_8"), caption("lecture_loop")
    ('openvino int8, batch 8', 'lecture loop')
    """
    words, _, size = name.rpartition("_")
    return f"{words.replace('_', ' ')}, batch {size}" if size.isdigit() else name.replace("_", " ")


def pipeline_candidates(model: str, engine: Engine, clip: Path, folder: Path) -> list[Candidate]:
    """The lecture's loop, the whole pipeline, and each of its stages alone."""
    batch_size = RunSettings().batch_size
    stages: dict[str, Callable[[], Subject]] = {
        "decode": partial(Decoding, clip),
        "resize": partial(resizing, model, clip),
        "batch": partial(batching, model, clip),
        ENGINE: partial(engine_alone, model, engine, clip, batch_size),
        "interpret": partial(interpreting, model),
        "draw": partial(drawing, clip),
        "encode": partial(encoding, clip),
        "write": partial(Writing, clip, folder),
    }
    whole = partial(Pipeline, model, engine, clip, folder)
    return [
        Candidate(BASELINE, partial(LectureLoop, model, clip, folder)),
        Candidate(PIPELINE, partial(as_in_run, whole)),
        *(Candidate(name, partial(as_in_run, stages[name])) for name in STAGES),
    ]


def as_in_run(open_subject: Callable[[], Subject]) -> Subject:
    """With OpenCV's own threads held back, as ``video-events run`` does."""
    cv2.setNumThreads(1)
    return open_subject()


def engine_candidates(model: str, clip: Path, folder: Path) -> list[Candidate]:
    """The same network in every way that is installed; ``folder`` holds what it was converted to."""
    onnx = folder / ONNX
    return [
        *(
            Candidate(f"tensorflow_{size}", partial(engine_alone, model, Engine.TENSORFLOW, clip, size))
            for size in (1, 8)
        ),
        *(
            Candidate(
                f"openvino_{precision}_{size}",
                partial(openvino_alone, model, precision, folder / FP32, clip, size),
            )
            for precision in (Precision.FP32, Precision.INT8)
            for size in (1, 8)
        ),
        *(
            Candidate(f"onnxruntime_{size}", partial(onnx_runtime, model, onnx, clip, size))
            for size in (1, 8)
        ),
        Candidate("opencv_dnn_1", partial(opencv_dnn, model, onnx, clip, 1)),
    ]
