"""A stream's line to the service: everything told goes out through a thread of its own.

So a service that is busy, or has stopped reading, never holds up a camera.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from service.child import Child
from service.errors import VideoEventsError
from service.streams.messages import Labelled, Measured, Pace, Picture, Standing, Told, Watch, decode, encode
from service.streams.meter import Meter
from service.types import Event, SmoothedPrediction, StreamState

MOST_LABELS: Final = 256
MOST_MESSAGES: Final = 10_000
"""Messages of which none may be lost; a service that has left so many unread is taken for dead."""
TOP: Final = 5
_HEARD_BYTES: Final = 1024


class Sender:
    """Sends messages in order, in a thread of its own; ``tell`` never waits.

    While the other end does not read, a picture takes the place of the one before it, measurements are
    added up, of labels the oldest are let go, and everything else is kept.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._changed = threading.Condition()
        self._kept: deque[tuple[int, Told]] = deque()
        self._labels: deque[tuple[int, Told]] = deque(maxlen=MOST_LABELS)
        self._picture: tuple[int, Told] | None = None
        self._measured: tuple[int, Measured] | None = None
        self._number = 0
        self._closing = False
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def tell(self, told: Told) -> None:
        with self._changed:
            self._number += 1
            if isinstance(told, Picture):
                self._picture = (self._picture[0] if self._picture else self._number, told)
            elif isinstance(told, Measured):
                first, before = self._measured or (self._number, None)
                self._measured = (first, _sum(before, told) if before else told)
            elif isinstance(told, Labelled):
                self._labels.append((self._number, told))
            elif len(self._kept) < MOST_MESSAGES:
                self._kept.append((self._number, told))
            else:
                self.failure = self.failure or "the service does not read what this stream tells"
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Send what waits, for at most ``timeout`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while (told := self._next()) is not None:
                self._pipe.send_bytes(encode(told))
        except (OSError, ValueError, TypeError) as error:
            self.failure = f"the service cannot be told: {error}"

    def _next(self) -> Told | None:
        """Wait for the message that was told first; None after the last."""
        with self._changed:
            while True:
                heads = [waiting[0][0] for waiting in (self._kept, self._labels) if waiting]
                heads += [one[0] for one in (self._picture, self._measured) if one]
                if heads:
                    return self._pop(min(heads))
                if self._closing:
                    return None
                self._changed.wait()

    def _pop(self, number: int) -> Told:
        for waiting in (self._kept, self._labels):
            if waiting and waiting[0][0] == number:
                return waiting.popleft()[1]
        if self._picture and self._picture[0] == number:
            told: Told = self._picture[1]
            self._picture = None
        else:
            assert self._measured
            told, self._measured = self._measured[1], None
        return told


class Outlet:
    """All that a stream's work has to do with the world around its process.

    ``wanted`` tells whether anybody looks at pictures, ``pace`` how many classifications per second the
    service allows at present (None: no limit).

    ``pulse`` is to be called at least every 0.2 s, whatever is waited for; from any thread that works.
    """

    def __init__(self, child: Child, pipe: Connection) -> None:
        self._child = child
        self._pipe = pipe
        self._sender = Sender(pipe)
        self._lock = threading.Lock()
        self._standing: Standing | None = None
        self._meter = Meter(time.monotonic())
        self.attempt = 1
        self.wanted = False
        self.pace: float | None = None

    def pulse(self) -> bool:
        """Give a sign of life, hear the service, measure; False once the process is to stop.

        Raises VideoEventsError if the service is gone.
        """
        self._child.beat()
        with self._lock:
            self._hear()
            standing = self._standing
            measured = self._meter.measure(time.monotonic(), standing)
        if measured:
            self._sender.tell(measured)
        if self._sender.failure:
            raise VideoEventsError(self._sender.failure)
        return not self._child.stopping.is_set()

    @property
    def stopping(self) -> threading.Event:
        return self._child.stopping

    def interval(self, announced: float) -> float:
        """Seconds between frames, by the rate ``announced`` or, where that is slower, as they came last."""
        with self._lock:
            return max(1 / announced, self._meter.frames.interval or 0.0)

    def tell(self, told: Told) -> None:
        self._sender.tell(told)

    def stand(self, state: StreamState, reason: str | None = None, wait: float | None = None) -> None:
        """Tell the state and its reason, if they have changed."""
        standing = Standing(state, reason, self.attempt, wait)
        with self._lock:
            if standing == self._standing:
                return
            measured = self._meter.measure(time.monotonic(), self._standing)
            self._standing = standing
        if measured:
            self._sender.tell(measured)
        self._sender.tell(standing)

    def count(
        self, *, frames: int = 0, dropped: int = 0, reused: int = 0, classified: float | None = None
    ) -> None:
        """Add frames that arrived, were dropped, or took over the result of an earlier one; or a
        classification that took so many seconds."""
        with self._lock:
            now = time.monotonic()
            self._meter.frames.come(frames, now)
            self._meter.dropped += dropped
            self._meter.reused += reused
            if classified is not None:
                self._meter.classified.come(1, now)
                self._meter.times.append(classified)

    def close(self, timeout: float) -> None:
        with self._lock:
            measured = self._meter.measure(time.monotonic(), self._standing, at_once=True)
        if measured:
            self._sender.tell(measured)
        self._sender.close(timeout)

    def _hear(self) -> None:
        try:
            while self._pipe.poll(0):
                told = decode(self._pipe.recv_bytes(_HEARD_BYTES))
                if isinstance(told, Watch):
                    self.wanted = told.wanted
                elif isinstance(told, Pace):
                    self.pace = told.rate
        except (EOFError, OSError) as error:
            raise VideoEventsError("the service is gone") from error


def label_of(
    smoothed: SmoothedPrediction,
    labels: tuple[str, ...],
    event: Event | None,
    *,
    captured_at: float,
    dropped: int,
) -> Labelled:
    """What is told of a smoothed prediction whose frame was captured at ``captured_at`` (monotonic)."""
    now = time.monotonic()
    likeliest = np.argsort(-smoothed.probabilities, kind="stable")[:TOP]
    return Labelled(
        index=smoothed.index,
        pts=smoothed.pts,
        captured_at=captured_at + time.time() - now,
        age=max(0.0, now - captured_at),
        label=smoothed.label,
        confidence=_share(smoothed.confidence),
        top=tuple((labels[i], _share(smoothed.probabilities[i])) for i in likeliest),
        dropped=dropped,
        event=event.id if event else None,
    )


def _share(probability: float) -> float:
    return float(probability) if math.isfinite(probability) else 0.0


def _sum(one: Measured, other: Measured) -> Measured:
    return replace(
        other,
        seconds_watched=one.seconds_watched + other.seconds_watched,
        seconds_dropped=one.seconds_dropped + other.seconds_dropped,
        seconds_blind=one.seconds_blind + other.seconds_blind,
    )
