"""Windows of frames for models that judge clips: each stream's last frames, one network for all of them.

A clip model is cut in two: ``encode`` sees every frame once, ``decide`` sees the features of the last few.
Only features are kept, so a frame costs one pass of the expensive part however long the window is. Pure
but for the engine: it knows nothing of threads, processes or clocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import ConfigurationError
from service.types import Classifier, ClipEngine, Concurrent, Image

Features = npt.NDArray[Any]


class FrameWindow:
    """Features of the last ``frames`` frames of one stream.

    Until there are that many, the first frame stands in for those before it, so that labels start at once.
    """

    def __init__(self, frames: int) -> None:
        """Raises ConfigurationError unless ``frames`` is 1 or more."""
        if frames < 1:
            raise ConfigurationError(f"a window needs 1 frame or more, got {frames}")
        self._frames = frames
        self._kept: Features | None = None

    def extend(self, features: Features) -> Features:
        """Take (N, …) features of the next N frames; return (N, frames, …): for each, those up to it."""
        if not len(features):
            return np.empty((0, self._frames, *features.shape[1:]), features.dtype)
        before = self._frames - 1
        kept = np.repeat(features[:1], before, axis=0) if self._kept is None else self._kept
        rows = np.concatenate([kept, features])
        self._kept = rows[len(rows) - before :].copy()
        windows = np.lib.stride_tricks.sliding_window_view(rows, self._frames, axis=0)
        return np.ascontiguousarray(np.moveaxis(windows, -1, 1))

    def reset(self) -> None:
        """Forget all frames: after a cut in what is seen (a lost source, a covered camera)."""
        self._kept = None


class WindowedClassifier:
    """A clip engine as the ``Classifier`` of one stream: the inputs of all calls are consecutive frames."""

    def __init__(self, engine: ClipEngine) -> None:
        self.engine = engine
        self._window = FrameWindow(engine.frames)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.engine.labels

    @property
    def frames(self) -> int:
        return self.engine.frames

    @property
    def views(self) -> int:
        return self.engine.views

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self.engine.model_input(image, view)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return (N, classes) probabilities: row i judges the window that ends with input i."""
        return self.engine.decide(self._window.extend(self.engine.encode(inputs)))

    def reset(self) -> None:
        self._window.reset()


class FrameEngine:
    """A model that judges every frame alone, as an engine whose windows are one frame long."""

    frames = 1

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @property
    def lanes(self) -> int:
        return lanes_of(self._classifier)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._classifier.labels

    @property
    def views(self) -> int:
        return self._classifier.views

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._classifier.model_input(image, view)

    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._classifier.classify(inputs)

    def decide(self, windows: Features) -> npt.NDArray[np.float32]:
        return np.asarray(windows[:, 0], np.float32)


class FixedEngine:
    """An engine whose labels never change, as a ``LearningEngine``."""

    shadows: tuple[str, ...] = ()
    width = 0

    def __init__(self, engine: ClipEngine) -> None:
        self._engine = engine
        self.labels = self.classes = tuple(engine.labels)
        self.columns = len(self.labels)
        self.frames = engine.frames
        self.views = engine.views
        self.lanes = lanes_of(engine)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._engine.model_input(image, view)

    def encode(self, inputs: npt.NDArray[np.uint8]) -> Features:
        return self._engine.encode(inputs)

    def decide(self, windows: Features) -> npt.NDArray[np.float32]:
        return self._engine.decide(windows)

    def refresh(self) -> bool:
        return False


def lanes_of(engine: object) -> int:
    """How many inputs an engine runs side by side; 1 for one that takes them batch by batch."""
    return engine.lanes if isinstance(engine, Concurrent) else 1


def engine_of(classifier: Classifier) -> ClipEngine:
    """What of a classifier can be shared by many streams, each of which then needs a ``FrameWindow``."""
    if isinstance(classifier, WindowedClassifier):
        return classifier.engine
    return FrameEngine(classifier)
