"""Brings what a stream tells into the event log, in order, in a thread of its own.

So a full disk holds up events, none of which is lost, but neither labels nor pictures.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from service.errors import StorageError
from service.event_log import EventLog
from service.types import EndReason, EventMessage

MOST_WAITING: Final = 10_000
"""Entries that may wait for the disk; whoever brings one more waits too."""
STORE_AGAIN: Final = 0.5
"""Seconds before an entry that could not be stored is tried again."""
REMIND: Final = 60.0
"""Seconds between two complaints that the disk still refuses."""

logger = logging.getLogger(__name__)

Entry = Callable[[], "Future[Any] | None"]
"""Begins to store something; its future raises StorageError. None if there is nothing to store."""


class Journal:
    """The entries of one stream. Methods may be called from any thread until ``close``.

    None is stored before the last one of the journal ``before``, which was closed: of the stream that was.
    """

    def __init__(self, stream: str, log: EventLog, model_name: str, before: Journal | None = None) -> None:
        self._stream = stream
        self._log = log
        self._model_name = model_name
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(MOST_WAITING)
        self._closing = threading.Event()
        self._thread: threading.Thread = threading.Thread(
            target=self._run,
            args=(before._thread if before else None,),
            name=f"journal {stream}",
            daemon=True,
        )
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many entries wait for the disk."""
        return self._entries.qsize()

    def append(self, message: EventMessage, epoch: float | None) -> None:
        """Enter a step in the life of an event; ``epoch`` is the wall clock at ``pts`` 0, if there is one."""
        self.enter(lambda: self._log.append([message], model=self._model_name, epoch=epoch))

    def end_open_events(self, reason: EndReason) -> None:
        """Enter the ends of what is still open then."""
        self.enter(lambda: self._log.end_open_events(reason, self._stream))

    def cover(self, at: float, watched: float, dropped: float, blind: float) -> None:
        """Enter seconds that had passed at ``at`` (Unix time)."""
        self.enter(lambda: self._log.cover(self._stream, at, watched, dropped, blind))

    def enter(self, entry: Entry) -> None:
        """Have anything else stored, in its turn."""
        self._room.acquire()
        self._entries.put(entry)

    def close(self, timeout: float) -> None:
        """Store what waits, without trying anything twice from now on; waits ``timeout`` seconds at most."""
        self._closing.set()
        self._entries.put(None)
        self._thread.join(timeout)

    def _run(self, before: threading.Thread | None) -> None:
        if before:
            before.join()
        lost: list[StorageError] = []
        while (entry := self._entries.get()) is not None:
            lost += self._store(entry)
            self._room.release()
        if lost:
            logger.error("stream %s: %s; entries lost: %d", self._stream, lost[-1], len(lost))
        self._room.release(MOST_WAITING)  # who brings something even now need not wait in vain

    def _store(self, entry: Entry) -> list[StorageError]:
        """Returns why the entry is lost: what the disk said when the journal was closed already."""
        complained: float | None = None
        while True:
            try:
                if (stored := entry()) is not None:
                    stored.result()
            except StorageError as error:
                is_last = self._closing.is_set()
                if not is_last and (complained is None or time.monotonic() - complained > REMIND):
                    complained = time.monotonic()
                    logger.error("stream %s: %s; trying again", self._stream, error)
                if is_last or self._closing.wait(STORE_AGAIN):
                    return [error]
            except Exception:  # of this entry: the next ones are to be stored
                logger.exception("stream %s: an entry can never be stored", self._stream)
                return []
            else:
                if complained is not None:
                    logger.warning("stream %s: the database can be written again", self._stream)
                return []
