"""Classifies a live stream's frames one at a time, in a thread of its own.

So that picture and recording keep their pace however slow the network is, and go on while it is away. What
looks like the last classified frame is not classified anew (``gating``).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from service.backoff import Backoff
from service.engines.delegating import DelegatingClassifier
from service.engines.restricted import RestrictedClassifier
from service.errors import InferenceError
from service.gating import Gate
from service.streams.records import LiveModel, StreamOptions
from service.types import Classifier, Frame, Image, Judgement, Probabilities, judged
from service.views import ViewPool, ViewTurns

WAITING: Final = "waiting for inference"
PATIENCE: Final = 5.0
"""Seconds that a classification may take before the stream counts as not watched."""
AGAIN: Final = Backoff(first=0.5, limit=4.0)

OpenModel = Callable[[Callable[[], None]], AbstractContextManager[Classifier]]
"""Opens a classifier; given what to call while it waits. Raises InferenceError to be called again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the model says of a frame; ``era`` as it was handed in, ``seconds`` what it took.

    ``trial`` is what labels on trial would have, each by its name.
    ``seconds`` is ``None`` if it was said of an earlier frame that looks like this one.
    """

    era: int
    index: int
    pts: float
    captured_at: float
    labels: tuple[str, ...]
    probabilities: Probabilities
    trial: dict[str, float]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Work:
    era: int
    index: int
    pts: float
    captured_at: float
    model_input: Image
    begun_at: float


class CroppedClassifier(DelegatingClassifier):
    """Another classifier, which is shown a part of every picture: left, top, width, height as shares."""

    def __init__(self, classifier: Classifier, crop: tuple[float, float, float, float]) -> None:
        super().__init__(classifier)
        self._crop = crop

    def model_input(self, image: Image, view: int = 0) -> Image:
        height, width = image.shape[:2]
        left, top, wide, high = self._crop
        x, y = min(width - 1, int(left * width)), min(height - 1, int(top * height))
        right, bottom = max(x + 1, round((left + wide) * width)), max(y + 1, round((top + high) * height))
        return self._classifier.model_input(image[y:bottom, x:right], view)

    def judge(self, inputs: npt.NDArray[np.uint8]) -> Judgement:
        return judged(self._classifier, inputs)


@contextmanager
def open_classifier(
    model: LiveModel, options: StreamOptions, while_waiting: Callable[[], None]
) -> Iterator[Classifier]:
    """The model as the stream's options want it. Raises InferenceError, or ConfigurationError for labels."""
    with model.open_live(while_waiting) as classifier:
        if options.labels is not None:
            classifier = RestrictedClassifier(classifier, options.labels)
        if options.crop is not None:
            classifier = CroppedClassifier(classifier, options.crop)
        yield classifier


class Recogniser:
    """Opens the model, again and again if need be, and holds at most one frame.

    All methods are for one other thread: the one that reads the stream.
    """

    def __init__(self, open_model: OpenModel, gate: Gate | None = None) -> None:
        """What a ``gate`` holds back takes over the result of the frame that it let pass last."""
        self._open = open_model
        self._gate = gate
        self._turns = ViewTurns()
        self._known: Result | None = None
        self._changed = threading.Condition()
        self._classifier: Classifier | None = None
        self._work: _Work | None = None
        self._result: Result | None = None
        self._on_result: Callable[[], None] = _nobody
        self._failure: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recogniser", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether a frame would be classified at once."""
        with self._changed:
            return self._classifier is not None and self._work is None and self._result is None

    def is_away(self, now: float) -> bool:
        """Whether there is no model, or one that does not answer. Raises what is beyond retrying."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if self._classifier is None:
                return True
            return self._work is not None and now - self._work.begun_at > PATIENCE

    def submit(self, frame: Frame, era: int) -> None:
        """Hand in a frame while ``is_idle``; it may be drawn on afterwards."""
        with self._changed:
            classifier = self._classifier
        if classifier is None:
            return
        seen = None
        if self._gate and classifier.frames == 1:
            seen = classifier.model_input(frame.image)
            if known := self._known_of(seen, frame.pts, era):
                with self._changed:
                    self._result = replace(
                        known, index=frame.index, pts=frame.pts, captured_at=frame.captured_at, seconds=None
                    )
                return
        model_input = self._turns.model_input(classifier, frame.image, seen)
        work = _Work(era, frame.index, frame.pts, frame.captured_at, model_input, time.monotonic())
        with self._changed:
            self._known = None  # until there is a result; there may never be one
            if self._classifier is classifier:
                self._work = work
                self._changed.notify_all()

    def _known_of(self, model_input: Image, pts: float, era: int) -> Result | None:
        """What was said of an earlier frame and holds for this one; None if it is to be classified."""
        assert self._gate
        with self._changed:
            known = self._known
        if known is None or known.era != era:
            self._gate.reset()
        return None if self._gate.passes(model_input, pts) else known

    @contextmanager
    def calling(self, on_result: Callable[[], None]) -> Iterator[None]:
        """Call ``on_result``, from another thread, whenever the network has said something."""
        self._on_result = on_result
        try:
            yield
        finally:
            self._on_result = _nobody

    def take(self) -> Result | None:
        """The result that nobody has taken yet, if there is one."""
        with self._changed:
            result, self._result = self._result, None
            return result

    def close(self) -> None:
        """Have the thread end at its next chance; does not wait."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _run(self) -> None:
        failures = 0
        try:
            while not self._closing:
                began = time.monotonic()
                try:
                    with self._open(self._go_on) as classifier:
                        self._serve(classifier)
                except InferenceError:
                    failures = AGAIN.attempt(failures, time.monotonic() - began)
                    with self._changed:
                        self._classifier = self._work = None
                        self._changed.wait_for(lambda: self._closing, AGAIN.delay(failures, random.random()))
        except _ClosingError:
            pass
        except BaseException as error:  # carried over to the thread that reads the stream
            with self._changed:
                self._failure = error

    def _serve(self, classifier: Classifier) -> None:
        era: int | None = None
        views = ViewPool(classifier.views)
        with self._changed:
            self._classifier = classifier
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work or self._closing)
                work = self._work
            if self._closing or work is None:
                raise _ClosingError
            if era is not None and work.era != era:
                classifier.reset()
                views.reset()
            era = work.era
            judgement = _joined(judged(classifier, work.model_input[np.newaxis]), views)
            seconds = time.monotonic() - work.begun_at
            with self._changed:
                self._work = None
                self._result = self._known = Result(
                    *(work.era, work.index, work.pts, work.captured_at),
                    *(judgement.labels, judgement.probabilities[0], judgement.trial(0), seconds),
                )
            self._on_result()

    def _go_on(self) -> None:
        if self._closing:
            raise _ClosingError


def _nobody() -> None:
    """Where nobody waits for results."""


def _joined(judgement: Judgement, views: ViewPool) -> Judgement:
    """``judgement`` of one input, with what was said before in other views."""
    labels = len(judgement.labels)
    row = np.concatenate([judgement.probabilities[0], judgement.shadow_probabilities[0]])
    row = views.update(row, judgement.labels, judgement.shadows)
    return replace(
        judgement, probabilities=row[np.newaxis, :labels], shadow_probabilities=row[np.newaxis, labels:]
    )


class _ClosingError(Exception):
    """Ends a wait for the model when the stream ends."""
