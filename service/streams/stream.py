"""One stream as the service sees it: its definition, what is known of it, and who follows it.

What the stream's process tells is heard in a thread of its own, so that a busy process holds up no other
stream; what is to last goes through a journal, so that a slow disk holds up nothing else either.
"""

from __future__ import annotations

import asyncio
import logging
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from service.event_log import EventLog
from service.histogram import Durations
from service.streams.broadcast import Broadcast
from service.streams.journal import Journal
from service.streams.messages import (
    MAX_BYTES,
    Announced,
    Labelled,
    Measured,
    Opened,
    Pace,
    Picture,
    Recorded,
    Standing,
    Told,
    Tried,
    Watch,
    Weighed,
    decode,
    encode,
)
from service.streams.records import StreamDefinition, StreamStatus
from service.supervisor import ChildState, ChildStatus
from service.types import EndReason, StreamState

RING: Final = 256
"""Labels that a subscriber may fall behind: some ten seconds."""
COVER_SECONDS: Final = 10.0
"""Between two notes on what was watched."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Label:
    """A smoothed prediction on its way to subscribers; ``emitted_at`` is Unix seconds."""

    seq: int
    labelled: Labelled
    emitted_at: float


TrialListener = Callable[[str, Tried | Weighed], "Future[None] | None"]
"""Hears, with the name of the stream, of labels on trial, and begins to store it (see ``journal.Entry``)."""

Update = Label | StreamStatus
"""What subscribers to labels hear: labels, and the status whenever the state has changed."""


class Stream:
    """Made within the event loop ``loop``; everything else may be called from any thread.

    ``closing`` is set once it is being stopped; ``changing`` is held by whoever changes or removes it.
    ``before`` is the stream in whose place it comes, of which there may be something to be stored still.
    """

    def __init__(
        self,
        definition: StreamDefinition,
        log: EventLog,
        model_name: str,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
        on_trial: TrialListener = lambda stream, told: None,
        before: Stream | None = None,
    ) -> None:
        self.definition = definition
        self.updates: Broadcast[Update] = Broadcast(loop, RING)
        self.pictures: Broadcast[bytes] = Broadcast(loop, 1, lambda followers: self._tell())
        self.last_label: Label | None = None
        self.announced_fps: float | None = None
        self.pace: float | None = None
        self.latency = Durations()
        self.closing = threading.Event()
        self.changing = threading.Lock()
        self._journal: Journal = Journal(
            definition.name, log, model_name, before._journal if before else None
        )
        self._clock = clock
        self._on_trial = on_trial
        self._lock = threading.Lock()  # of the status, which is replaced as a whole
        self._logged: tuple[StreamState, str | None] | None = None
        self._status = StreamStatus(name=definition.name, since=clock())
        # Rises by one per label and, as nothing labels a thousand frames a second, over restarts too; unless
        # the clock was set back meanwhile, which costs nobody a label: no subscription is resumed by it.
        self._seq = int(clock() * 1000)
        self._telling = threading.Lock()  # of the channel: nobody writes to one that is being closed
        self._channel: Connection | None = None
        self._untold = False
        self._listening: threading.Thread | None = None
        self._covered = [0.0, 0.0, 0.0]
        self._covered_at = time.monotonic()

    @property
    def status(self) -> StreamStatus:
        return self._status

    @property
    def queue_depth(self) -> int:
        """How many steps of events, and the like, wait for the disk; pictures and labels never do."""
        return self._journal.depth

    def grant(self, asked: float, granted: float, pace: float | None) -> None:
        """Show the rate that the stream asks for and has; ``pace`` is what to tell its process to keep to."""
        self._note(asked_rate=asked, granted_rate=granted)
        if pace != self.pace:
            self.pace = pace
            self._tell()

    def open_channel(self) -> Connection:
        """Listen to a process that is about to start; called by the supervisor."""
        ours, theirs = Pipe()
        with self._telling:
            self._channel = ours
        name = f"stream {self.definition.name}"
        listening = threading.Thread(
            target=self._listen, args=(ours, self._listening), name=name, daemon=True
        )
        listening.start()
        self._listening = listening  # not before: what could not be started cannot be waited for
        return theirs

    def hear_supervisor(self, child: ChildStatus) -> None:
        """Show what has become of the process itself; called by the supervisor."""
        if child.state is ChildState.WAITING:
            with self._telling:
                self._channel = None
            wait = max(0.0, (child.next_try_at or 0.0) - time.monotonic())
            self._set(
                state=StreamState.LOST,
                reason=f"the process of this stream ended: {child.reason}",
                attempt=child.attempt,
                next_try_at=self._clock() + wait,
                restarts=child.failures,
            )
        elif child.state is ChildState.STARTING and not self.closing.is_set():
            self._set(state=StreamState.CONNECTING, next_try_at=None)

    def close(self, timeout: float) -> None:
        """After the process has gone: hear the rest of what it told, let all followers go."""
        self.closing.set()
        if self._listening:
            self._listening.join(timeout)
        self._journal.close(timeout)
        self.updates.close()
        self.pictures.close()

    def _tell(self) -> None:
        """Tell the process what is wanted of it by now. Never waits: one that reads nothing is told later."""
        with self._telling:
            if self._channel is None:
                return
            try:
                self._untold = not _has_room(self._channel)
                if not self._untold:
                    self._channel.send_bytes(encode(Watch(self.pictures.followers > 0)))
                    self._channel.send_bytes(encode(Pace(self.pace)))
            except OSError:  # it ends just now; the next one is told as soon as it is heard
                return

    def _listen(self, channel: Connection, before: threading.Thread | None) -> None:
        if before:
            before.join()
        try:
            self._tell()
            while True:
                told = decode(channel.recv_bytes(MAX_BYTES))
                # Whose process is dead is in no state any more; the supervisor may have told so before.
                if self._channel is channel or not isinstance(told, Standing):
                    self._hear(told)
                if self._untold:
                    self._tell()
        except (EOFError, OSError):
            pass
        except (ValueError, KeyError, TypeError):
            logger.exception("the process of stream %s went astray", self.definition.name)
        finally:
            with self._telling:  # whose number may be that of something else once it is closed
                channel.close()
                if self._channel is channel:
                    self._channel = None
            self._cover()
            self.pictures.forget()
            self._journal.end_open_events(EndReason.SOURCE_LOST)

    def _hear(self, told: Told) -> None:
        if isinstance(told, Picture):
            self.pictures.publish(told.jpeg)
        elif isinstance(told, Labelled):
            self._seq += 1
            self.last_label = Label(self._seq, told, self._clock())
            self.latency.add(told.age)
            self._note(label=told.label, confidence=told.confidence, frame_age=told.age)
            self.updates.publish(self.last_label)
        elif isinstance(told, Announced):
            event = replace(told.message.event, stream=self.definition.name)
            self._journal.append(replace(told.message, event=event), told.epoch)
        elif isinstance(told, Tried | Weighed):
            self._journal.enter(lambda: self._on_trial(self.definition.name, told))
        elif isinstance(told, Standing):
            next_try_at = None if told.wait is None else self._clock() + told.wait
            self._set(state=told.state, reason=told.reason, attempt=told.attempt, next_try_at=next_try_at)
        elif isinstance(told, Opened):
            self.announced_fps = told.fps
            self._note(is_live=told.is_live, width=told.width, height=told.height, fps=None)
        elif isinstance(told, Measured):
            self._measure(told)
        elif isinstance(told, Recorded):
            facts = {"stream": self.definition.name, "event": told.event, "file": told.file}
            logger.info("stream %s: recorded %s", self.definition.name, told.file, extra=facts)

    def _measure(self, told: Measured) -> None:
        self._note(
            fps=told.fps,
            classified_fps=told.classified_fps,
            inference_seconds=told.inference_seconds,
            frames=told.frames,
            dropped=told.dropped,
            classified=told.classified,
            reused=told.reused,
        )
        seconds = (told.seconds_watched, told.seconds_dropped, told.seconds_blind)
        self._covered = [sum(pair) for pair in zip(self._covered, seconds, strict=True)]
        if time.monotonic() - self._covered_at >= COVER_SECONDS:
            self._cover()

    def _cover(self) -> None:
        """Note what was watched."""
        covered, self._covered = self._covered, [0.0, 0.0, 0.0]
        self._covered_at = time.monotonic()
        if any(covered):
            self._journal.cover(self._clock(), *covered)

    def _note(self, **facts: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **facts)

    def _set(
        self,
        *,
        state: StreamState,
        reason: str | None = None,
        attempt: int | None = None,
        next_try_at: float | None = None,
        restarts: int | None = None,
    ) -> None:
        with self._lock:
            was = self._status
            status = replace(
                was,
                state=state,
                since=was.since if state is was.state else self._clock(),
                reason=reason,
                attempt=was.attempt if attempt is None else attempt,
                next_try_at=next_try_at,
                restarts=was.restarts if restarts is None else restarts,
            )
            waits = state is StreamState.LIVE and reason is not None  # for the network
            if waits or state not in (StreamState.LIVE, StreamState.STALLED):
                status = replace(status, label=None, confidence=None, frame_age=None)
            self._status = status
        if status != was:
            self.updates.publish(status)
            self._log(status)

    def _log(self, status: StreamStatus) -> None:
        """One line for each state, not for each of the tries to connect."""
        now = (status.state, status.reason)
        if status.state is StreamState.CONNECTING or now == self._logged:
            return
        self._logged = now
        because = f": {status.reason}" if status.reason else ""
        facts = {"stream": status.name, "state": status.state.value, "reason": status.reason}
        level = logging.WARNING if status.state in (StreamState.LOST, StreamState.FAILED) else logging.INFO
        logger.log(level, "stream %s is %s%s", status.name, status.state.value, because, extra=facts)


def _has_room(channel: Connection) -> bool:
    """Whether a few short messages can be sent without waiting for the other end to read. Raises OSError."""
    poll = select.poll()
    poll.register(channel, select.POLLOUT)
    return bool(poll.poll(0))
