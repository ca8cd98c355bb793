"""Hand-written stand-ins that meet the same Protocols as the real things."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from models.prototypes import Reference
from service.errors import SinkError, SourceError
from service.sinks import Step
from service.types import EventMessage, Frame, Image, SourceProperties

COLOURS = {"red": (40, 40, 220), "green": (40, 220, 40), "blue": (220, 40, 40), "background": (40, 40, 40)}
"""BGR of the scenes that ``ColourClassifier`` recognises."""
UNKNOWN = {"yellow": (40, 220, 220), "violet": (220, 40, 220)}
"""BGR of scenes that it does not."""


class ColourClassifier:
    """Labels a frame by the colour nearest to its mean; fully deterministic, and sure of itself."""

    frames = 1
    views = 1

    def __init__(self) -> None:
        self.batches: list[int] = []
        self._colours = np.array(list(COLOURS.values()), np.float32)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(COLOURS)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return np.asarray(cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA), np.uint8)

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Features: how near each channel's mean is to each of four levels."""
        means = inputs.astype(np.float32).mean(axis=(1, 2))
        nearness = 1 - np.abs(means[:, :, None] - np.array([0, 80, 160, 240], np.float32)) / 80
        return self.classify(inputs), np.maximum(nearness, 0).reshape(len(inputs), -1)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.batches.append(len(inputs))
        means = inputs.astype(np.float32).mean(axis=(1, 2))
        nearness = -np.linalg.norm(means[:, None] - self._colours, axis=2) / 20
        weights = np.exp(nearness - nearness.max(axis=1, keepdims=True))
        result: npt.NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

    def reset(self) -> None:
        pass


class SideBySideColours(ColourClassifier):
    """The same for several threads, of which the one that comes later is often through sooner."""

    lanes = 2

    def __init__(self) -> None:
        super().__init__()
        self.most_at_once = 0
        self._inside = 0
        self._counting = threading.Lock()

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with self._counting:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
            is_late = len(self.batches) % 2
            result = super().classify(inputs)
        time.sleep(0.002 if is_late else 0.02)
        with self._counting:
            self._inside -= 1
        return result


class ClipColours:
    """A clip engine: sees colours frame by frame, and lets the newest of its frames count most.

    ``encoded`` and ``decided`` count the inputs and the windows of all calls.
    """

    labels = tuple(COLOURS)
    views = 1

    def __init__(self, frames: int = 5) -> None:
        self.frames = frames
        self.encoded = self.decided = 0
        self._colours = ColourClassifier()

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._colours.model_input(image, view)

    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.encoded += len(inputs)
        return self._colours.classify(inputs)

    def decide(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.decided += len(windows)
        assert windows.shape[1:] == (self.frames, len(COLOURS))
        weights = np.arange(1, self.frames + 1, dtype=np.float32)
        means: npt.NDArray[np.float32] = np.einsum("ntc,t->nc", windows, weights / weights.sum())
        return means


def colour_reference() -> Reference:
    """What the known colours look like to ``ColourClassifier``."""
    classifier, rng = ColourClassifier(), np.random.default_rng(0)
    inputs = [
        np.clip(rng.normal(0, 4, (8, 8, 3)) + COLOURS[name], 0, 255).astype(np.uint8)
        for name in COLOURS
        for _ in range(8)
    ]
    features = classifier.embed(np.stack(inputs))[1]
    return Reference.of(features, np.repeat(np.arange(len(COLOURS)), 8), tuple(COLOURS), rank=2)


def scene(name: str, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), (COLOURS | UNKNOWN)[name], np.uint8)


class ListSource:
    """Frames of named scenes at 10 frames per second; may fail or end early after the last of them."""

    def __init__(
        self, scenes: list[str], *, failure: SourceError | None = None, ending: str | None = None
    ) -> None:
        self.properties = SourceProperties(64, 48, 10.0, len(scenes), is_live=False)
        self.frames_read = 0
        self._scenes = scenes
        self._failure = failure
        self._ending = ending

    @property
    def ended_early(self) -> bool:
        return self._ending is not None

    @property
    def ending(self) -> str | None:
        return self._ending

    def read(self) -> Frame | None:
        index = self.frames_read
        if index == len(self._scenes):
            if self._failure:
                raise self._failure
            return None
        self.frames_read += 1
        return Frame("list", index, index / 10, 0.0, scene(self._scenes[index]))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ListSink:
    """Keeps everything; fails at frame ``fail_at`` if told so."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.steps: list[Step] = []
        self.last: tuple[EventMessage, ...] | None = None
        self.aborted = False
        self._fail_at = fail_at

    def write(self, step: Step) -> None:
        if len(self.steps) == self._fail_at:
            raise SinkError("no room")
        self.steps.append(step)

    def close(self, last: tuple[EventMessage, ...]) -> None:
        self.last = last

    def abort(self) -> None:
        self.aborted = True


def read_video(path: Path, backend: int = cv2.CAP_FFMPEG) -> tuple[list[Image], float]:
    """All frames of a video file and its frame rate."""
    capture = cv2.VideoCapture(str(path), backend)
    frames = []
    while True:
        found, image = capture.read()
        if not found:
            break
        frames.append(np.asarray(image, np.uint8))
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, fps
