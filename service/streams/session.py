"""One connection to a live source, from its first frame until it is lost.

The newest frame is judged, handed to the network when that is free, drawn on, shown and recorded; what the
network says is applied when it comes, unless the stream could not be seen in between.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from service.annotate import Annotator
from service.capture import NewestFrame
from service.errors import SourceError
from service.events import SHORTEST_EVENT
from service.pipeline import Interpreter
from service.sources import Source
from service.streams.messages import Announced
from service.streams.outlet import Outlet, label_of
from service.streams.recogniser import WAITING, Recogniser, Result
from service.streams.records import StreamOptions
from service.streams.screen import Screen
from service.streams.shadows import ShadowWatch
from service.streams.sight import Sight
from service.types import EndReason, EventMessage, Frame, Prediction, StreamState

STEP: Final = 0.1
"""Seconds to wait for a frame, or for what the network says, before looking at everything else."""
STALLED_AFTER: Final = 1.0
STALLED_FRAMES: Final = 5
LOST_AFTER: Final = 5.0
_ERAS: Final = itertools.count()
"""Stretches of sight of this process; none has the number of another, reconnections included."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds without a frame: a stream stalls after the greater of ``stalled`` and five frame times, as
    announced or as they are, and is lost after ``lost``."""

    stalled: float = STALLED_AFTER
    lost: float = LOST_AFTER


class Closable(Protocol):
    def close(self) -> None: ...


def close_in_background(*closables: Closable) -> None:
    """Close one after the other; a read that hangs, and is waited for, must not hold up what comes next."""

    def close() -> None:
        for closable in closables:
            closable.close()

    closing = threading.Thread(target=close, name="close source", daemon=True)
    closing.start()
    closing.join(STEP)


class LiveSession:
    """Works on an opened live source until it is lost or the process is to stop.

    ``new_name`` names the stream in events, differently at every call: each stretch of sight has a window
    and numbers of its own.
    """

    def __init__(
        self,
        source: Source,
        options: StreamOptions,
        recogniser: Recogniser,
        outlet: Outlet,
        screen: Screen,
        annotator: Annotator,
        new_name: Callable[[], str],
        limits: Limits,
    ) -> None:
        self._source = source
        self._options = options
        self._recogniser = recogniser
        self._outlet = outlet
        self._screen = screen
        self._annotator = annotator
        self._new_name = new_name
        self._limits = limits
        self._sight = Sight(options.blind_after, options.frozen_after)
        self._interpreter: Interpreter | None = None
        self._shadows: ShadowWatch | None = None
        self._era = next(_ERAS)
        self._epoch: float | None = None
        self._pts = 0.0
        self._frames = self._dropped = 0
        self._classified_index = -1
        self._classified_pts = 0.0
        self._taken = 0
        self._due_frame, self._due_pts = 0, 0.0
        self._paced_pts = self._paced_before = 0.0

    def run(self) -> str | None:
        """Return why the source was lost, or None when the process is to stop."""
        newest = NewestFrame(self._source)
        try:
            with self._recogniser.calling(newest.interrupt):
                reason = self._follow(newest)
            self._count(newest)
        finally:
            close_in_background(newest, self._source)
        lost = reason is not None
        self._close(EndReason.SOURCE_LOST if lost else EndReason.END_OF_STREAM, self._pts)
        return reason

    def _follow(self, newest: NewestFrame) -> str | None:
        seen_at = time.monotonic()
        while self._outlet.pulse():
            self._apply()
            self._count(newest)
            try:
                frame = newest.take(STEP)
            except TimeoutError:
                silent = time.monotonic() - seen_at
                if silent >= self._limits.lost:
                    return f"no frame for {silent:.0f} s"
                interval = self._outlet.interval(self._source.properties.fps)
                stalled_after = max(self._limits.stalled, STALLED_FRAMES * interval)
                if silent >= stalled_after:
                    self._outlet.stand(StreamState.STALLED, f"no frame for {stalled_after:.2g} s")
                continue
            except SourceError as error:
                return str(error)
            if frame is None:
                return self._source.ending or "the stream ended"
            seen_at = time.monotonic()
            self._apply()
            self._take(frame)
        return None

    def _take(self, frame: Frame) -> None:
        now = time.monotonic()
        if self._interpreter is None or self._interpreter.is_quiet:  # no event whose time it would move
            self._epoch = frame.captured_at - frame.pts + time.time() - now
        self._pts = frame.pts
        self._taken += 1
        state = self._sight.look(frame.image, frame.pts)
        away = self._recogniser.is_away(now)
        if state is not StreamState.LIVE:
            self._close(EndReason.BLIND, self._sight.since)
        elif away:
            self._close(EndReason.BLIND, self._classified_pts)
            self._outlet.count(dropped=1)
        elif not self._sight.obscured and self._is_due(frame):
            self._recogniser.submit(frame, self._era)
        reason = WAITING if away and state is StreamState.LIVE else None
        self._outlet.stand(state, reason)
        self._show(frame, reason or (None if state is StreamState.LIVE else state.value))

    def _is_due(self, frame: Frame) -> bool:
        """Whether the network is free and pace and settings allow to classify this frame."""
        if self._taken < self._due_frame or frame.pts < max(self._due_pts, self._paced_pts):
            return False
        if not self._recogniser.is_idle:
            return False
        self._due_frame = self._taken + self._options.settings.every
        if self._options.rate is not None:
            self._due_pts = max(self._due_pts + 1 / self._options.rate, frame.pts)
        self._paced_before = self._paced_pts
        if self._outlet.pace is not None:
            self._paced_pts = max(self._paced_pts + 1 / self._outlet.pace, frame.pts)
        return True

    def _apply(self) -> None:
        """Take in what the network has said, unless it is of a frame from before sight was lost."""
        result = self._recogniser.take()
        if result is None:
            return
        if result.seconds is None:
            self._outlet.count(reused=1)
            self._paced_pts = self._paced_before  # it has cost the network nothing
        else:
            self._outlet.count(classified=result.seconds)
        if result.era != self._era:
            return
        if self._interpreter is None:
            name = self._new_name()
            self._interpreter = Interpreter(name, result.labels, self._options.settings)
            self._shadows = ShadowWatch(name, self._options.settings, self._outlet.tell)
        self._tell(self._interpreter.relabel(result.labels))
        self._interpret(self._interpreter, result)

    def _interpret(self, interpreter: Interpreter, result: Result) -> None:
        self._tell(interpreter.update(Prediction(result.index, result.pts, result.probabilities)))
        assert interpreter.smoothed
        label = label_of(
            interpreter.smoothed,
            result.labels,
            interpreter.event,
            captured_at=result.captured_at,
            dropped=result.index - self._classified_index - 1,
        )
        self._classified_index, self._classified_pts = result.index, result.pts
        self._outlet.tell(label)
        if self._shadows:
            self._shadows.update(
                *(result.index, result.pts, result.labels, result.probabilities, result.trial, self._epoch)
            )

    def _close(self, reason: EndReason, pts: float) -> None:
        """End what goes on for ``reason`` at ``pts``; what follows starts afresh.

        Frames that were classified after ``pts``, as those of a picture that turned out to be frozen,
        do not count.
        """
        self._era = next(_ERAS)
        if self._interpreter:
            messages = self._interpreter.close(reason, pts)
            self._interpreter = None
            if self._shadows:
                self._shadows.close(reason, pts, self._epoch)
            self._tell(tuple(_ended_at(message, reason, pts) for message in messages))

    def _tell(self, messages: tuple[EventMessage, ...]) -> None:
        for message in messages:
            self._outlet.tell(Announced(message, self._epoch))
        self._screen.note(messages)

    def _show(self, frame: Frame, state: str | None) -> None:
        if not self._screen.wants():
            return
        interpreter = self._interpreter
        smoothed, event = (interpreter.smoothed, interpreter.event) if interpreter else (None, None)
        self._annotator.draw(frame.image, smoothed, event, state)
        self._screen.show(frame)

    def _count(self, newest: NewestFrame) -> None:
        frames, dropped = self._source.frames_read, newest.dropped
        self._outlet.count(frames=frames - self._frames, dropped=dropped - self._dropped)
        self._frames, self._dropped = frames, dropped


def _ended_at(message: EventMessage, reason: EndReason, pts: float) -> EventMessage:
    event = message.event
    if event.end_reason is not reason or event.end_pts is None or event.end_pts <= pts:
        return message
    return replace(message, event=replace(event, end_pts=max(pts, event.start_pts + SHORTEST_EVENT)))
