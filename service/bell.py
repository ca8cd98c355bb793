"""Wakes any number of asyncio waiters from any thread, once however often it was rung meanwhile."""

from __future__ import annotations

import asyncio
import threading


class Bell:
    """Take ``event`` before looking at what it is about, then wait for it: so no ring is missed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waking = False
        self.event = asyncio.Event()

    def ring(self) -> None:
        """Set ``event``, and put a new one in its place; called after what it is about has changed."""
        with self._lock:
            if self._waking:
                return
            self._waking = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop has ended before whoever rings
            return

    def _wake(self) -> None:
        with self._lock:
            self._waking = False
        rung, self.event = self.event, asyncio.Event()
        rung.set()
