"""Where the network runs: threads beside the one that serves clients.

So requests are received, and answers given, while it runs; and where an engine runs several inputs side by
side, the next begins the moment one of them is done, whatever the others still take.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.inference.queueing import Ticket

Features = npt.NDArray[Any]


@dataclass(slots=True)
class Run:
    """A batch on its way through the network; ``together`` so many ran at a time, itself included."""

    batch: Sequence[Ticket]
    began_at: float
    outcome: Future[tuple[Features, float]]
    together: int = 1

    def result(self) -> tuple[Features, float]:
        """(N, …) features and the seconds that they took. Raises what the engine raised."""
        return self.outcome.result()


class Lanes:
    """Runs ``encode`` on up to ``count`` batches at a time; they are finished in the order they began.

    Can be waited for by a selector: readable after a batch has come through. All methods are for one thread.
    """

    def __init__(self, encode: Callable[[npt.NDArray[np.uint8]], Features], count: int) -> None:
        self.count = count
        self._encode = encode
        self._running: deque[Run] = deque()
        self._finished_at = 0.0
        self._threads = ThreadPoolExecutor(count, "lane")
        self._through = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._through

    @property
    def busy(self) -> int:
        """How many batches run now."""
        return len(self._unfinished)

    @property
    def _unfinished(self) -> list[Run]:
        return [run for run in self._running if not run.outcome.done()]

    @property
    def is_free(self) -> bool:
        return self.busy < self.count

    @property
    def waiting_since(self) -> float | None:
        """When that batch began which is to be finished next, or the one before it came through, if later.

        None if no batch runs.
        """
        return max(self._running[0].began_at, self._finished_at) if self._running else None

    def begin(self, batch: Sequence[Ticket], inputs: npt.NDArray[np.uint8]) -> None:
        """Start on (N, h, w, 3) ``inputs``, which stay as they are until the batch is finished."""
        now = time.monotonic()
        beside = self._unfinished  # before it begins, as all may be through a moment later
        begun = Run(batch, now, self._threads.submit(self._work, inputs))
        self._running.append(begun)
        together = [*beside, begun]
        for run in together:
            run.together = max(run.together, len(together))
        begun.outcome.add_done_callback(self._wake)

    def finished(self) -> Iterator[Run]:
        """Batches that are through, as far as none is missing before them."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._through)
        while self._running and self._running[0].outcome.done():
            self._finished_at = time.monotonic()
            yield self._running.popleft()

    def rest(self) -> Iterator[Run]:
        """All that were begun; waits for them."""
        while self._running:
            self._running[0].outcome.exception()
            yield self._running.popleft()

    def close(self) -> None:
        """Wait for what runs, and forget it."""
        self._threads.shutdown(cancel_futures=True)
        os.close(self._through)

    def _work(self, inputs: npt.NDArray[np.uint8]) -> tuple[Features, float]:
        start = time.monotonic()
        return self._encode(inputs), time.monotonic() - start

    def _wake(self, _: Future[tuple[Features, float]]) -> None:
        os.eventfd_write(self._through, 1)
