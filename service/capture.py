"""Reading policies: how the frames of a source reach the one who works on them.

``ReadAhead`` hands over every frame (files). ``NewestFrame`` hands over the newest and counts the others
(live sources, where an old frame is worth nothing). Both decode in a thread of their own; OpenCV releases
the interpreter lock meanwhile. The source stays the caller's to close, after the policy has been closed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Generic, Self, TypeVar

from service.errors import ConfigurationError
from service.sources import Source
from service.types import Frame

Item = TypeVar("Item")

_JOIN_TIMEOUT = 15.0


class _Reader(Generic[Item]):
    """A thread that reads items into a bounded buffer; a context manager that stops it.

    ``read`` is called in that thread and returns None at the end.
    """

    def __init__(self, read: Callable[[], Item | None], size: int) -> None:
        if size < 1:
            raise ConfigurationError(f"the queue must hold at least 1 item, got {size!r}")
        self._read = read
        self._size = size
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._finished = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading and drop what is buffered; returns when the thread has ended.

        A read in progress is waited for, up to 15 s: longer than a source's own timeout.
        """
        with self._changed:
            self._stopping = True
            self._items.clear()
            self._changed.notify_all()
        self._thread.join(_JOIN_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _take(self, timeout: float | None = None) -> Item | None:
        """Return the oldest buffered item, or None at the end; raise the failure of the reading."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_ready, timeout):
                raise TimeoutError(f"no new frame within {timeout:g} s")
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._failure is not None:
                raise self._failure
            return None

    @property
    def _is_ready(self) -> bool:
        """Whether ``_take`` would not wait."""
        return bool(self._items) or self._finished or self._stopping

    def _make_room(self) -> None:
        """Called with the lock held before an item is buffered: waits while there is no room."""
        self._changed.wait_for(lambda: len(self._items) < self._size or self._stopping)

    def _run(self) -> None:
        try:
            while not self._stopping and (item := self._read()) is not None:
                with self._changed:
                    self._make_room()
                    if self._stopping:
                        return
                    self._items.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # carried over to the thread that takes the items
            self._failure = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()


class ReadAhead(_Reader[Frame]):
    """Every frame of a source in order, decoded ahead of the one who iterates.

    Waits while ``size`` frames are buffered. A failure of the source is raised by the iteration, after
    the frames that came before it. ::

        with open_source("clip.mp4") as source, ReadAhead(source) as frames:
            for frame in frames: ...
    """

    def __init__(self, source: Source, size: int = 16) -> None:
        """Start reading. ``size`` bounds the frames held in memory."""
        self._source = source
        super().__init__(source.read, size)

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._take()) is not None:
            yield frame


class WorkAhead(_Reader[Item]):
    """Runs a generator in a thread of its own, at most ``size`` items ahead of the one who iterates.

    What the generator raises is raised by the iteration, after the items before it. It is closed when
    this is, unless a read that hangs keeps it.
    """

    def __init__(self, items: Generator[Item, None, None], size: int) -> None:
        """Start working."""
        self._generator = items
        super().__init__(lambda: next(items, None), size)

    def __iter__(self) -> Iterator[Item]:
        while (item := self._take()) is not None:
            yield item

    def close(self) -> None:
        super().close()
        if not self._thread.is_alive():
            self._generator.close()


class NewestFrame(_Reader[Frame]):
    """The newest frame of a live source, which is drained without pause; older ones are dropped.

    ``dropped`` counts the frames that nobody took.
    """

    def __init__(self, source: Source) -> None:
        """Start reading."""
        self.dropped = 0
        self._interrupted = False
        super().__init__(source.read, size=1)

    def take(self, timeout: float | None = None) -> Frame | None:
        """Wait for a frame that has not been taken yet; None when the source has ended.

        Raises TimeoutError after ``timeout`` seconds or an ``interrupt``, and whatever SourceError the source
        failed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._interrupted or self._is_ready, timeout)
            self._interrupted = False
            if not self._is_ready:
                raise TimeoutError("no new frame")
            return self._take()

    def interrupt(self) -> None:
        """Have ``take`` wait no longer, or the next one not begin to: there is something else to do."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def _make_room(self) -> None:
        if len(self._items) == self._size:
            self._items.popleft()
            self.dropped += 1
