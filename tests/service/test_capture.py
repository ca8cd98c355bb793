"""Reading policies, with a source whose pace the test decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Self

import numpy as np
import pytest

from service.capture import NewestFrame, ReadAhead, WorkAhead
from service.errors import ConfigurationError, SourceError
from service.types import Frame, SourceProperties
from tests.service.children import wait_until

PATIENCE = 5.0


class PacedSource:
    """Gives a frame per ``release``; unlimited if ``paced`` is off. Fails after ``fail_at`` frames."""

    ended_early = False
    ending = None

    def __init__(self, count: int, *, paced: bool = False, fail_at: int | None = None) -> None:
        self.properties = SourceProperties(4, 4, 10.0, count, is_live=paced)
        self.frames_read = 0
        self.closed = False
        self._count = count
        self._fail_at = fail_at
        self._permits = threading.Semaphore(0) if paced else None

    def release(self, frames: int) -> None:
        assert self._permits
        self._permits.release(frames)

    def read(self) -> Frame | None:
        if self._permits:
            assert self._permits.acquire(timeout=PATIENCE)
        if self.frames_read == self._fail_at:
            raise SourceError("cable pulled")
        if self.frames_read == self._count:
            return None
        index = self.frames_read
        self.frames_read += 1
        return Frame("fake", index, index / 10, time.monotonic(), np.zeros((4, 4, 3), np.uint8))

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reader"]


def test_read_ahead_loses_and_swaps_nothing() -> None:
    """Every frame of a file arrives, once and in order, and the thread is gone afterwards."""
    with ReadAhead(PacedSource(500), 4) as frames:
        assert [frame.index for frame in frames] == list(range(500))
    assert not reader_threads()


def test_read_ahead_runs_ahead_only_so_far() -> None:
    """Decoding overlaps with the work on frames, yet memory stays bounded: queue plus one in hand."""
    source = PacedSource(100)
    with ReadAhead(source, 3) as frames:
        wait_until(lambda: source.frames_read == 4)
        next(iter(frames))
        wait_until(lambda: source.frames_read == 5)
    assert source.frames_read == 5


def test_read_ahead_can_be_left_early() -> None:
    """Breaking off in the middle of a long file stops the thread at once."""
    with ReadAhead(PacedSource(10**9), 2) as frames:
        for frame in frames:
            if frame.index == 3:
                break
    assert not reader_threads()


def test_read_ahead_hands_over_the_failure_after_the_frames() -> None:
    """A source that fails half way gives what it had, then its own error where the frames are used."""
    with ReadAhead(PacedSource(9, fail_at=3), 8) as frames:
        iterator = iter(frames)
        assert [next(iterator).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(SourceError, match="cable pulled"):
            next(iterator)


def test_queue_must_hold_a_frame() -> None:
    """A queue of nothing would wait for ever; it is refused."""
    with pytest.raises(ConfigurationError):
        ReadAhead(PacedSource(1), 0)


def test_newest_frame_drops_and_counts_what_nobody_took() -> None:
    """A slow consumer of a live source gets the newest frame, never a backlog, and drops are counted."""
    source = PacedSource(100, paced=True)
    with NewestFrame(source) as live:
        source.release(10)
        wait_until(lambda: live.dropped == 9)
        frame = live.take(PATIENCE)
        assert frame
        assert frame.index == 9
        source.release(1)
        frame = live.take(PATIENCE)
        assert frame
        assert (frame.index, live.dropped) == (10, 9)
        source.release(100)
    assert not reader_threads()


def test_newest_frame_tells_silence_from_the_end() -> None:
    """No new frame yet is a timeout; the end is None, after the last frame; both end the wait."""
    source = PacedSource(1, paced=True)
    with NewestFrame(source) as live:
        with pytest.raises(TimeoutError):
            live.take(0.01)
        source.release(2)
        frame = live.take(PATIENCE)
        assert frame
        assert frame.index == 0
        assert live.take(PATIENCE) is None


def test_newest_frame_waits_no_longer_than_it_is_let() -> None:
    """An interrupt ends a wait from another thread, or the next before it begins; it never takes a frame."""
    source = PacedSource(2, paced=True)
    with NewestFrame(source) as live:
        later = threading.Timer(0.05, live.interrupt)
        later.start()
        with pytest.raises(TimeoutError):
            live.take(PATIENCE)
        later.join()
        live.interrupt()
        with pytest.raises(TimeoutError):
            live.take(PATIENCE)
        source.release(3)  # the last one finds the end
        wait_until(lambda: live.dropped == 1)
        live.interrupt()
        frame = live.take(PATIENCE)
        assert frame
        assert frame.index == 1


def test_newest_frame_hands_over_the_failure() -> None:
    """A camera that fails is the consumer's to know, not a thread's to die of."""
    with NewestFrame(PacedSource(5, fail_at=0)) as live, pytest.raises(SourceError, match="cable pulled"):
        live.take(PATIENCE)


def numbers(count: int, closed: threading.Event) -> Generator[int, None, None]:
    """0, 1, 2 …, then a failure."""
    try:
        yield from range(count)
        raise SourceError("no more numbers")
    finally:
        closed.set()


def test_work_ahead_gives_all_in_order() -> None:
    """Work done ahead arrives in order; a failure comes after all that was made before it."""
    closed, taken = threading.Event(), list[int]()
    with WorkAhead(numbers(50, closed), 2) as ahead, pytest.raises(SourceError, match="no more numbers"):
        taken.extend(ahead)
    assert taken == list(range(50))
    assert closed.is_set()


def test_work_ahead_stops_when_nobody_wants_it() -> None:
    """Who stops half-way leaves no thread behind, and the generator gets to clean up."""
    before, closed = threading.active_count(), threading.Event()
    with WorkAhead(numbers(10**9, closed), 2) as ahead:
        assert next(iter(ahead)) == 0
    assert closed.is_set()
    assert threading.active_count() == before


def test_an_interrupt_ends_one_wait_alone() -> None:
    """The next one goes on until there is a frame."""
    source = PacedSource(1, paced=True)
    with NewestFrame(source) as live:
        live.interrupt()
        with pytest.raises(TimeoutError):
            live.take(PATIENCE)
        later = threading.Timer(0.05, source.release, [2])
        later.start()
        frame = live.take(PATIENCE)
        later.join()
        assert frame
        assert frame.index == 0


def test_nothing_comes_of_what_was_closed() -> None:
    """Frames that were read ahead are dropped, and their memory with them."""
    source = PacedSource(100)
    frames = ReadAhead(source, 3)
    wait_until(lambda: source.frames_read == 4)
    frames.close()
    assert list(frames) == []
