"""Every stage of the journey of a frame alone, with nothing beside it: what a frame costs where.

The stages use the pipeline's own functions; so their costs add up to what the pipeline cannot do without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import count, cycle
from pathlib import Path
from typing import Final

import numpy as np

from models.artifact import load_artifact
from service.annotate import Annotator
from service.batching import Batcher
from service.benchmark.clip import read_frames
from service.benchmark.rounds import Reading, Repeated, Stopwatch, repeat
from service.config import RunSettings
from service.pipeline import Interpreter, plan
from service.sinks.avi import AviWriter
from service.sinks.mjpg_file import encode_jpeg
from service.sources import open_source
from service.types import Event, Frame, Prediction, SmoothedPrediction, SourceProperties

HELD: Final = 24
"""Frames that a stage works on in turn: more than the caches hold."""
FILE_FRAMES: Final = 500
"""Frames after which the file that is written begins afresh."""


class Decoding:
    """From the file to an image; opening it does not count."""

    def __init__(self, clip: Path) -> None:
        self._clip = str(clip)

    def measure(self, seconds: float) -> Reading:
        watch, frames = Stopwatch(), 0
        while watch.seconds < seconds:
            with open_source(self._clip) as source:
                source.read()  # decoded while it was opened
                deadline = time.perf_counter() + seconds - watch.seconds
                watch.start()
                while time.perf_counter() < deadline and source.read():
                    frames += 1
                watch.stop()
        return watch.reading(frames)


def resizing(model: str, clip: Path) -> Repeated:
    """From the frame to the model's input."""
    preprocessing = load_artifact(model).preprocessing
    return _with_frames(clip, lambda frame: preprocessing.model_input(frame.image, frame.index))


def batching(model: str, clip: Path) -> Repeated:
    """From model inputs to one array for the network."""
    (image,) = read_frames(clip, 1)
    ready = load_artifact(model).preprocessing.model_input(image)
    facts = SourceProperties(image.shape[1], image.shape[0], 25.0, None, is_live=False)
    flow = plan(facts, RunSettings())
    batcher = Batcher(flow.batch_size, flow.batch_bytes)
    return _with_frames(clip, lambda frame: batcher.add(frame, ready.copy()))


def interpreting(model: str) -> Repeated:
    """From probabilities to the smoothed label and to events."""
    labels = load_artifact(model).labels
    shares = np.random.default_rng(1).dirichlet(np.full(len(labels), 0.1), 500).astype(np.float32)
    predictions = zip(count(), cycle(list(shares)), strict=False)
    interpreter = Interpreter("benchmark", labels, RunSettings())

    def one() -> int:
        index, probabilities = next(predictions)
        interpreter.update(Prediction(index, index / 25, probabilities))
        return 1

    return Repeated(one)


def drawing(clip: Path) -> Repeated:
    """The panel onto the frame, with a confidence that changes all the time and an event that goes on."""
    event = Event("benchmark-1", "benchmark", "badminton", 3.0, None, 0.9, 0.9, 0.5)
    shown = cycle([_smoothed(0.8 + 0.15 * math.sin(i / 10)) for i in range(300)])
    annotator = Annotator()
    return _with_frames(clip, lambda frame: annotator.draw(frame.image, next(shown), event))


def encoding(clip: Path) -> Repeated:
    """From the frame to JPEG."""
    return _with_frames(clip, lambda frame: encode_jpeg(frame.image))


class Writing:
    """From JPEG into the AVI file."""

    def __init__(self, clip: Path, folder: Path) -> None:
        images = list(read_frames(clip, HELD))
        self._size = (images[0].shape[1], images[0].shape[0])
        self._jpegs = cycle([encode_jpeg(image) for image in images])
        self._path = folder / "writing.avi"
        self._begin()

    def measure(self, seconds: float) -> Reading:
        return repeat(self._one, seconds)

    def _begin(self) -> None:
        self._file = self._path.open("wb")
        self._writer = AviWriter(self._file, *self._size, Fraction(25))

    def _one(self) -> int:
        if self._writer.frames >= FILE_FRAMES:
            self._writer.close()
            self._file.close()
            self._begin()
        self._writer.write(next(self._jpegs))
        return 1


def _with_frames(clip: Path, work: Callable[[Frame], object]) -> Repeated:
    """Calls ``work`` with one held frame after the other."""
    images = list(read_frames(clip, HELD))
    frames = cycle([Frame("clip", i, i / 25, 0.0, image) for i, image in enumerate(images)])

    def one() -> int:
        work(next(frames))
        return 1

    return Repeated(one)


def _smoothed(share: float) -> SmoothedPrediction:
    shares = np.array([share, 1 - share], np.float32)
    return SmoothedPrediction(Prediction(0, 0.0, shares), shares, "badminton", share)
