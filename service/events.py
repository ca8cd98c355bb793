"""Event detector: from smoothed predictions to events with a start, an end and a confidence.

Detection acts on the smoothed probabilities, because they do not flicker; the times are then dated back
on the raw ones (``service.onsets``), because smoothing is late.

Everything here is pure: time is the ``pts`` of the predictions, and nothing else decides a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import ConfigurationError
from service.onsets import DIVIDE, Runs
from service.relabelling import Relabelling
from service.types import BACKGROUND, EndReason, Event, EventMessage, EventPhase, SmoothedPrediction

SHORTEST_EVENT = 1e-3
"""Seconds: an event that was announced never ends at or before its start, even if time stood still."""

ROUNDING = 1e-9
"""Seconds by which a duration may fall short and still count: 15 frames at 30 fps are half a second."""


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Thresholds on the smoothed probability (0..1) and durations in seconds of media time.

    A label enters at ``enter`` or more for ``min_duration`` and exits below ``exit``. Gaps of the same
    label shorter than ``merge_gap`` are one event. An open event is reported again at most every
    ``update_interval``. Raises ConfigurationError for values that cannot work. For defaults see
    ``config.RunSettings``.
    """

    enter: float
    exit: float
    min_duration: float
    merge_gap: float
    update_interval: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.exit <= self.enter <= 1:
            raise ConfigurationError(
                "thresholds must satisfy 0 < exit <= enter <= 1, "
                f"got exit={self.exit!r}, enter={self.enter!r}"
            )
        for name in ("min_duration", "merge_gap", "update_interval"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(f"{name} must be 0 or more seconds, got {value!r}")


class EventDetector:
    """Follows one stream and reports the life of its events: started, updated any number of times, ended.

    - At most one event is open; background is never one. Events are ordered and never overlap.
    - After an exit the event stays open, without a word to the listener, while a gap shorter than
      ``merge_gap`` may still close. ``ended`` therefore comes late: at most 2 × ``merge_gap`` +
      ``min_duration`` + 4 × the time that smoothing took to see the exit, counted from the true end.
    - ``end_reason`` is ``label_change`` if another label had taken the top when the label left, and
      ``exit`` if background or nothing in particular had.
    - ``pts`` that repeat or step back are taken as standing still, across ``close`` too.
    """

    def __init__(self, stream: str, labels: Sequence[str], settings: EventSettings) -> None:
        """``labels`` name the probabilities."""
        if not labels or len(set(labels)) != len(labels):
            raise ConfigurationError(f"labels must be one or more different names, got {list(labels)!r}")
        self._stream = stream
        self._labels = tuple(labels)
        self._settings = settings
        self._seq = 1
        self._number = 1
        self._pts = -math.inf
        self._last_end = -math.inf
        self._event: _OpenEvent | None = None
        self._candidate: int | None = None
        self._candidate_since = -math.inf
        self._top: int | None = None
        self._runs = self._new_runs()

    @property
    def is_open(self) -> bool:
        """Whether an event goes on; no longer so while one that has left waits for its gap to close."""
        return self._event is not None and self._event.end is None

    def update(self, smoothed: SmoothedPrediction) -> list[EventMessage]:
        """Take in the next smoothed prediction and return what it gives rise to, in order.

        Raise ValueError for NaN or a wrong number of probabilities, or a pts that is not finite.
        """
        self._check(smoothed)
        pts = self._pts = max(self._pts, smoothed.pts)
        probabilities = smoothed.probabilities.astype(np.float64)
        top = int(np.argmax(probabilities))
        self._runs.update(smoothed.raw.probabilities, pts, held=self._held())
        messages: list[EventMessage] = []

        event = self._event
        if event and event.end is None and probabilities[event.label] < self._settings.exit:
            self._exit(event, pts, top)
        self._runs.restart_fallen(probabilities)

        entered = self._entered(top, probabilities[top], pts)
        if entered is not None and not (event and event.end is None and event.label == entered):
            messages += self._enter(entered, pts)
        event = self._event
        if event and event.end is not None and not self._can_still_merge(event, pts):
            messages.append(self._finish(event))
        elif event and event.end is None:
            messages += self._observe(event, float(probabilities[event.label]), pts)
        self._top = top
        return messages

    def close(self, reason: EndReason, pts: float) -> list[EventMessage]:
        """End an open event for ``reason`` at ``pts`` and forget all that was seen; usable afterwards.

        An event that had already left its label keeps the end and the reason of that. One that is
        leaving (absent from the raw predictions, and no longer the smoothed top label) ends where its
        absence began. Raise ValueError if ``pts`` is not finite.
        """
        if not math.isfinite(pts):
            raise ValueError(f"pts must be finite, got {pts!r}")
        pts = self._pts = max(self._pts, pts)
        messages: list[EventMessage] = []
        if event := self._event:
            if event.end is None:
                leaving = self._top != event.label
                end = self._runs.absence_onset(event.label) if leaving else None
                event.leave(pts if end is None else end, reason)
            messages.append(self._finish(event))
        self._forget()
        return messages

    def relabel(self, labels: Sequence[str]) -> list[EventMessage]:
        """Go on with other labels, in the midst of a stream; an event whose label is gone ends here.

        Raises ConfigurationError for labels that cannot work.
        """
        move = Relabelling.between(self._labels, labels)
        messages: list[EventMessage] = []
        event = self._event
        if event and move.index(event.label) is None:
            if event.end is None:
                event.leave(self._pts, EndReason.EXIT)
            messages.append(self._finish(event))
        elif event:
            event.label = move.place_of[event.label]
        self._labels = tuple(labels)
        self._candidate, self._top = move.index(self._candidate), move.index(self._top)
        self._runs.relabel(move)
        return messages

    def _forget(self) -> None:
        self._event = self._candidate = self._top = None
        self._runs = self._new_runs()

    def _new_runs(self) -> Runs:
        return Runs(len(self._labels), low=min(self._settings.exit, DIVIDE))

    def _check(self, smoothed: SmoothedPrediction) -> None:
        for probabilities in (smoothed.raw.probabilities, smoothed.probabilities):
            if probabilities.shape != (len(self._labels),):
                raise ValueError(
                    f"expected {len(self._labels)} probabilities, got an array of shape {probabilities.shape}"
                )
            if not np.isfinite(probabilities).all():
                raise ValueError(
                    f"frame {smoothed.index}: probabilities must be numbers, got {probabilities}"
                )
        if not math.isfinite(smoothed.pts):
            raise ValueError(f"frame {smoothed.index}: pts must be finite, got {smoothed.pts!r}")

    def _held(self) -> int | None:
        return self._event.label if self._event and self.is_open else None

    def _entered(self, top: int, confidence: float, pts: float) -> int | None:
        """Return the label that has been a candidate for long enough, if one has."""
        is_candidate = self._labels[top] != BACKGROUND and confidence >= self._settings.enter
        candidate = top if is_candidate else None
        if candidate != self._candidate:
            self._candidate, self._candidate_since = candidate, pts
        long_enough = pts - self._candidate_since >= self._settings.min_duration - ROUNDING
        return candidate if long_enough else None

    def _exit(self, event: _OpenEvent, pts: float, top: int) -> None:
        absence = self._runs.absence_onset(event.label)
        end = pts if absence is None else absence
        replaced = top != event.label and self._labels[top] != BACKGROUND
        event.leave(end, EndReason.LABEL_CHANGE if replaced else EndReason.EXIT)
        patience = 2 * self._settings.merge_gap + self._settings.min_duration
        event.wait_until = end + patience + 4 * (pts - end)
        self._runs.restart(event.label)

    def _can_still_merge(self, event: _OpenEvent, pts: float) -> bool:
        assert event.end is not None
        onset = self._runs.onset(event.label)
        nearest = pts if onset is None else onset
        return self._is_short_gap(event.end, nearest) and pts < event.wait_until

    def _is_short_gap(self, end: float, onset: float) -> bool:
        return onset - end < self._settings.merge_gap - ROUNDING

    def _enter(self, label: int, pts: float) -> list[EventMessage]:
        onset = self._runs.onset(label)
        start = self._candidate_since if onset is None else onset
        messages: list[EventMessage] = []
        if event := self._event:
            if event.end is not None and event.label == label and self._is_short_gap(event.end, start):
                event.resume()
                return messages
            if event.end is None:
                self._give_way(event, start, pts)
            messages.append(self._finish(event))
        start = max(start, self._last_end)
        event = self._event = _OpenEvent(
            id=f"{self._stream}-{self._number:06d}",
            label=label,
            start=start,
            detect_delay=max(0.0, pts - start),
        )
        self._number += 1
        return messages

    def _give_way(self, event: _OpenEvent, start: float, pts: float) -> None:
        """End ``event`` because another label entered, whose onset is ``start``, before this one left."""
        absence = self._runs.absence_onset(event.label)
        end = pts if absence is None else absence
        event.leave(min(end, start) if start > event.start else end, EndReason.LABEL_CHANGE)
        self._runs.restart(event.label)

    def _observe(self, event: _OpenEvent, confidence: float, pts: float) -> list[EventMessage]:
        event.peak = max(event.peak, confidence)
        event.total += confidence
        event.frames += 1
        if event.reported_at is None:
            phase = EventPhase.STARTED
        elif pts - event.reported_at >= self._settings.update_interval - ROUNDING:
            phase = EventPhase.UPDATED
        else:
            return []
        event.reported_at = pts
        return [self._message(phase, event)]

    def _finish(self, event: _OpenEvent) -> EventMessage:
        assert event.end is not None
        self._last_end = event.end
        self._event = None
        return self._message(EventPhase.ENDED, event)

    def _message(self, phase: EventPhase, event: _OpenEvent) -> EventMessage:
        message = EventMessage(
            self._seq,
            phase,
            Event(
                id=event.id,
                stream=self._stream,
                label=self._labels[event.label],
                start_pts=event.start,
                end_pts=event.end,
                peak_confidence=event.peak,
                mean_confidence=event.total / event.frames,
                detect_delay=event.detect_delay,
                end_reason=event.end_reason,
            ),
        )
        self._seq += 1
        return message


@dataclass(slots=True)
class _OpenEvent:
    """An event that was announced; with an ``end``, one that waits for its gap to close or to widen."""

    id: str
    label: int
    start: float
    detect_delay: float
    peak: float = 0.0
    total: float = 0.0
    frames: int = 0
    reported_at: float | None = None
    end: float | None = None
    end_reason: EndReason | None = None
    wait_until: float = 0.0

    def leave(self, end: float, reason: EndReason) -> None:
        self.end, self.end_reason = max(end, self.start + SHORTEST_EVENT), reason

    def resume(self) -> None:
        self.end = self.end_reason = None
