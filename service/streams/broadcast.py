"""Carries what a stream tells to any number of subscribers, on the side of asyncio.

All subscribers share one bounded ring of the newest items; each has only a cursor. One that falls behind
further than the ring reaches is told how many it has missed. It costs no memory and holds up nobody.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Generic, TypeVar

from service.bell import Bell

Item = TypeVar("Item")


class Broadcast(Generic[Item]):
    """A ring of ``size`` items; ``publish`` from any thread, ``follow`` within the event loop ``loop``.

    ``on_followers`` is told, within the loop, how many follow, whenever that changes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        size: int,
        on_followers: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._ring: deque[Item] = deque(maxlen=size)
        self._published = 0
        self._lock = threading.Lock()
        self._bell = Bell(loop)
        self._closed = False
        self._on_followers = on_followers
        self.followers = 0

    @property
    def newest(self) -> Item | None:
        """The last item published, if any."""
        with self._lock:
            return self._ring[-1] if self._ring else None

    def publish(self, item: Item) -> None:
        with self._lock:
            self._ring.append(item)
            self._published += 1
        self._bell.ring()

    def forget(self) -> None:
        """Have no ``newest`` any more: what was published is too old to be shown to anybody."""
        with self._lock:
            self._ring.clear()

    def close(self) -> None:
        """Let all followers come to their end."""
        with self._lock:
            self._closed = True
        self._bell.ring()

    def follow(self) -> AsyncIterator[tuple[int, list[Item]]]:
        """Yield what is published after this call, with the number of items missed before it."""
        return self._follow(self._published)

    async def _follow(self, cursor: int) -> AsyncIterator[tuple[int, list[Item]]]:
        self._count(+1)
        try:
            while True:
                rung = self._bell.event
                with self._lock:
                    missed = max(0, self._published - len(self._ring) - cursor)
                    skipped = max(0, cursor - (self._published - len(self._ring)))
                    items = list(islice(self._ring, skipped, None))
                    cursor, closed = self._published, self._closed
                if items:
                    yield missed, items
                elif closed:
                    return
                else:
                    await rung.wait()
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.followers += change
        self._on_followers(self.followers)
