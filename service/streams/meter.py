"""What is counted of a stream: how fast frames come and are classified, and how long it was watched.

Pure: time is an argument.
"""

from __future__ import annotations

from typing import Final

from service.streams.messages import Measured, Standing
from service.types import StreamState

MEASURE_EVERY: Final = 1.0
"""Seconds."""
ASLEEP: Final = 3.0
"""Seconds between two looks after which this process did not run (a paused container): nobody watched."""
_OVER: Final = (StreamState.LOST, StreamState.FAILED, StreamState.ENDED)
"""States without a connection."""


class Rate:
    """How often something comes.

    ``interval`` is the mean of the seconds from one to the next, as last measured; None before two have come.
    A count by the second would come and go for what is slow, and flutter for what is not.
    """

    def __init__(self) -> None:
        self.count = 0
        self.interval: float | None = None
        self._came_at: float | None = None
        self._timed_at, self._timed_count = 0.0, 0

    def come(self, number: int, now: float) -> None:
        """Count what has come since the last call."""
        if not number:
            return
        self.count += number
        if self._came_at is None:  # what came before the first one is no interval
            self._timed_at, self._timed_count = now, self.count
        self._came_at = now

    def measure(self, now: float) -> float | None:
        """So many per second, None if not known; fewer and fewer when no more come."""
        silent = 0.0
        if self._came_at is not None and self._came_at > self._timed_at:
            self.interval = (self._came_at - self._timed_at) / (self.count - self._timed_count)
            self._timed_at, self._timed_count = self._came_at, self.count
        else:
            silent = now - self._timed_at
        return None if self.interval is None else 1 / max(self.interval, silent)

    def forget(self) -> None:
        """Begin anew with what comes next; ``count`` goes on."""
        self.interval = self._came_at = None


class Meter:
    """Adds up frames, and the seconds spent in each kind of state."""

    def __init__(self, now: float) -> None:
        self.frames, self.classified = Rate(), Rate()
        self.dropped = 0
        self.reused = 0
        self.times: list[float] = []
        self._told_at = self._noted_at = now
        self._watched = self._dropped = self._blind = 0.0

    def measure(self, now: float, standing: Standing | None, at_once: bool = False) -> Measured | None:
        """Note the time that passed in ``standing``; return what is to be told when a second is full."""
        passed, self._noted_at = now - self._noted_at, now
        if passed > ASLEEP:
            passed = 0.0
        state = standing.state if standing else StreamState.CONNECTING
        if state in (StreamState.BLIND, StreamState.FROZEN):
            self._blind += passed
        elif state is StreamState.LIVE and standing and standing.reason is None:
            self._watched += passed
        elif state is not StreamState.ENDED:
            self._dropped += passed
        if state in _OVER:
            self.frames.forget()
            self.classified.forget()
        seconds = now - self._told_at
        if seconds <= 0 or not (at_once or seconds >= MEASURE_EVERY):
            return None
        measured = Measured(
            fps=0.0 if state in _OVER else self.frames.measure(now),
            classified_fps=self.classified.measure(now) or 0.0,
            inference_seconds=sum(self.times) / len(self.times) if self.times else None,
            frames=self.frames.count,
            dropped=self.dropped,
            classified=self.classified.count,
            reused=self.reused,
            seconds_watched=self._watched,
            seconds_dropped=self._dropped,
            seconds_blind=self._blind,
        )
        self._told_at, self.times = now, []
        self._watched = self._dropped = self._blind = 0.0
        return measured
