"""A file as a stream: every frame through the same pipeline as an upload, no faster than real time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from service.annotate import Annotator
from service.capture import ReadAhead
from service.engines.delegating import DelegatingClassifier
from service.errors import InferenceError, SourceTimeoutError
from service.pipeline import RunResult, run
from service.sinks import Step
from service.sources import Source
from service.streams.messages import Announced
from service.streams.outlet import Outlet, label_of
from service.streams.recogniser import PATIENCE, WAITING, OpenModel
from service.streams.records import StreamOptions
from service.streams.screen import Screen
from service.streams.session import STEP, close_in_background
from service.streams.shadows import ShadowWatch
from service.types import (
    Classifier,
    EndReason,
    EventMessage,
    Frame,
    SourceProperties,
    StreamState,
    judged,
)

LATE: Final = 0.5
"""Seconds that may be made up for; a machine that falls back further stays late."""
HANGING: Final = 15.0
"""Seconds after which a read is given up; a network source gives up earlier itself."""
AGAIN: Final = 0.5


def play(
    source: Source,
    name: str,
    options: StreamOptions,
    open_model: OpenModel,
    outlet: Outlet,
    screen: Screen,
) -> RunResult | None:
    """Take a file from its first frame to its last and close it; None if it was to stop before the first.

    ``name`` names the stream in events. Raises SourceError for a file of which nothing can be read.
    """
    fps = source.properties.fps
    every = options.settings.every if options.rate is None else math.ceil(fps / options.rate)
    settings = replace(options.settings, batch_size=1, every=max(options.settings.every, every))
    try:
        classifier = PatientClassifier(open_model, outlet)
    except KeyboardInterrupt:
        close_in_background(source)
        return None
    paced = PacedSource(source, outlet.pulse, lambda: outlet.pace and outlet.pace * settings.every)
    try:
        return run(
            paced,
            name,
            classifier,
            settings,
            [StreamSink(outlet, screen, classifier, ShadowWatch(name, settings, outlet.tell))],
            stop=outlet.stopping,
        )
    finally:
        classifier.close()
        close_in_background(paced, source)


class PacedSource(ReadAhead):
    """Another source, whose frames are handed out at their time; meets the Protocol ``Source``.

    Decodes a little ahead in a thread of its own, so that ``pulse`` is called while a read takes long:
    every 0.1 s of any wait. ``read`` returns None once ``pulse`` has returned False. ``captured_at`` of
    a frame is when it was handed out. ``limit`` tells the most frames per second there may be at present:
    where the network has no time for more, a file is played slower, and gives the same events.
    Closing it leaves the other source open.
    """

    def __init__(
        self,
        source: Source,
        pulse: Callable[[], bool],
        limit: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._pulse = pulse
        self._limit = limit
        self._handed_out_at = float("-inf")
        self._began: float | None = None
        self.frames_read = 0
        super().__init__(source, size=4)

    @property
    def properties(self) -> SourceProperties:
        return self._source.properties

    @property
    def ended_early(self) -> bool:
        return self._source.ended_early

    @property
    def ending(self) -> str | None:
        return self._source.ending

    def read(self) -> Frame | None:
        """Return the next frame at its time, or None at the end. Raises SourceError."""
        frame = self._next()
        if frame is None:
            return None
        now = time.monotonic()
        if self._began is None:
            self._began = now - frame.pts
        while (wait := self._due_at(frame) - now) > 0:
            if not self._pulse():
                return None
            time.sleep(min(wait, STEP))
            now = time.monotonic()
        late = now - self._began - frame.pts
        if late > LATE:
            self._began += late
        self._handed_out_at = now
        self.frames_read += 1
        return replace(frame, captured_at=now)

    def _due_at(self, frame: Frame) -> float:
        assert self._began is not None
        limit = self._limit()
        return max(self._began + frame.pts, self._handed_out_at + 1 / limit if limit else 0.0)

    def _next(self) -> Frame | None:
        asked_at = time.monotonic()
        while self._pulse():
            try:
                return self._take(STEP)
            except TimeoutError:
                if time.monotonic() - asked_at > HANGING:
                    raise SourceTimeoutError(f"no frame could be read within {HANGING:g} s") from None
        return None


class PatientClassifier(DelegatingClassifier):
    """A classifier that waits for as long as there is no inference: a file can wait too.

    ``trial`` is what labels on trial would have had of the last input. Raises KeyboardInterrupt, which the
    pipeline takes for what it is, if the process is to stop meanwhile.
    """

    def __init__(self, open_model: OpenModel, outlet: Outlet) -> None:
        self._open_model = open_model
        self._opened = ExitStack()
        self._outlet = outlet
        self._state = StreamState.CONNECTING
        self._began = 0.0
        self.trial: dict[str, float] = {}
        super().__init__(self._open())

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self._state = StreamState.LIVE
        while True:
            self._began = time.monotonic()
            try:
                judgement = judged(self._classifier, inputs)
            except InferenceError:
                self._classifier = self._open()
            else:
                self._outlet.count(classified=time.monotonic() - self._began)
                self.trial = judgement.trial(len(inputs) - 1)
                return judgement.probabilities

    def close(self) -> None:
        """Let go of the network, which would wait for further inputs."""
        self._opened.close()

    def _open(self) -> Classifier:
        self._opened.close()
        while True:
            self._outlet.stand(self._state, WAITING)
            self._go_on()
            try:
                return self._opened.enter_context(self._open_model(self._go_on))
            except InferenceError:
                again_at = time.monotonic() + AGAIN
                while time.monotonic() < again_at:
                    self._go_on()
                    time.sleep(STEP)

    def _go_on(self) -> None:
        if time.monotonic() - self._began > PATIENCE:
            self._outlet.stand(self._state, WAITING)
        if not self._outlet.pulse():
            raise KeyboardInterrupt


class StreamSink:
    """Tells of every step, shows and records it; a sink of the pipeline."""

    def __init__(
        self, outlet: Outlet, screen: Screen, classifier: PatientClassifier, shadows: ShadowWatch
    ) -> None:
        self._outlet = outlet
        self._screen = screen
        self._classifier = classifier
        self._shadows = shadows
        self._pts = 0.0
        self._annotator = Annotator()
        self._skipped = 0

    def write(self, step: Step) -> None:
        self._outlet.stand(StreamState.LIVE)
        self._outlet.count(frames=1, reused=int(step.reused))
        self._outlet.pulse()
        self._tell(step.messages)
        if step.smoothed and step.smoothed.index == step.frame.index:
            labels, captured_at = self._classifier.labels, step.frame.captured_at
            skipped, self._skipped = self._skipped, 0
            self._outlet.tell(
                label_of(step.smoothed, labels, step.event, captured_at=captured_at, dropped=skipped)
            )
            self._pts, raw = step.smoothed.pts, step.smoothed.raw
            self._shadows.update(
                *(raw.index, raw.pts, labels, raw.probabilities, self._classifier.trial, None)
            )
        else:
            self._skipped += 1
        if self._screen.wants():
            self._annotator.draw(step.frame.image, step.smoothed, step.event)
            self._screen.show(step.frame)

    def close(self, last: tuple[EventMessage, ...]) -> None:
        self._tell(last)
        self._shadows.close(EndReason.END_OF_STREAM, self._pts, None)

    def abort(self) -> None:
        pass

    def _tell(self, messages: tuple[EventMessage, ...]) -> None:
        for message in messages:
            self._outlet.tell(Announced(message, None))
        self._screen.note(messages)
