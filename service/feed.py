"""Carries the event log's announcements to any number of subscribers, on the side of asyncio.

All subscribers share one bounded ring of the newest messages; each has only a cursor. One whose cursor has
left the ring reads on from the log, at its own pace, so a slow subscriber costs no memory, holds up nobody
and loses nothing. The only loss there can be, messages that retention has deleted, is told as a ``Gap``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Final, Self

from service.bell import Bell
from service.event_log import EventLog, EventQuery, LoggedMessage

RING_SIZE: Final = 1024
BATCH: Final = 64
"""Messages that one subscriber holds at most."""


class GapReason(StrEnum):
    FORGOTTEN = "forgotten"
    UNKNOWN_POSITION = "unknown_position"


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages after ``after`` up to ``until`` may have existed and cannot be had.

    ``unknown_position``: the subscriber's position lies beyond the end of this log, so it comes from
    another one; what follows starts at ``until``.
    """

    after: int
    until: int
    reason: GapReason


class Feed:
    """A context manager within a running event loop; ``follow`` is for each subscriber."""

    def __init__(self, log: EventLog, ring_size: int = RING_SIZE) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._ring: deque[LoggedMessage] = deque(maxlen=ring_size)
        self._last = 0
        self._stack = ExitStack()
        self.catch_ups = 0

    async def __aenter__(self) -> Self:
        self._bell = Bell(asyncio.get_running_loop())
        self._stack.enter_context(self._log.listening(self._hear))  # before the end is asked for: no hole
        page = await asyncio.wrap_future(self._log.query(EventQuery(limit=0)))
        with self._lock:
            self._last = max(self._last, page.last)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def last(self) -> int:
        """The newest position of the log."""
        return self._last

    async def follow(self, query: EventQuery) -> AsyncIterator[tuple[LoggedMessage, ...] | Gap]:
        """Yield without end what comes after ``query.after`` and matches, in order, each exactly once."""
        cursor = query.after
        if cursor > self._last:
            until = self._last  # more may be logged while this is sent
            yield Gap(cursor, until, GapReason.UNKNOWN_POSITION)
            cursor = until
        while True:
            rung = self._bell.event
            recent = self._recent(cursor)
            if recent is None:
                self.catch_ups += 1
                page = await asyncio.wrap_future(self._log.query(replace(query, after=cursor, limit=BATCH)))
                if page.forgotten > cursor:
                    yield Gap(cursor, page.forgotten, GapReason.FORGOTTEN)
                    cursor = page.forgotten
                if page.messages:
                    yield page.messages
                cursor = max(cursor, page.messages[-1].position if len(page.messages) == BATCH else page.last)
            elif recent:
                if matching := tuple(logged for logged in recent if query.matches(logged)):
                    yield matching
                cursor = recent[-1].position
            else:
                await rung.wait()

    def _recent(self, cursor: int) -> list[LoggedMessage] | None:
        """What the ring holds after ``cursor``; ``None`` where it does not reach back so far."""
        with self._lock:
            if cursor >= self._last:
                return []
            if not self._ring or self._ring[0].position > cursor + 1:
                return None
            start = cursor + 1 - self._ring[0].position  # positions have no holes
            return list(islice(self._ring, start, start + BATCH))

    def _hear(self, logged: LoggedMessage) -> None:
        """Called in the writer's thread."""
        with self._lock:
            self._ring.append(logged)
            self._last = logged.position
        self._bell.ring()
