"""How many model inputs per second an engine can take: measured at its start, followed ever after. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Final

MEMORY: Final = 33
"""Batches whose slowness is remembered. Half of them have to agree, so one hiccup changes nothing."""
LASTING: Final = 5.0
"""Seconds for which more than those are remembered, where batches are short: a busy moment is no hiccup of
theirs but soon over, too."""
MOST: Final = 256
"""Batches that are remembered at most."""


class CapacityEstimate:
    """Batch times of the warm-up, and how much slower than that batches are now.

    One factor for all sizes: what slows an engine down (other processes, heat, a smaller share of the
    machine) slows every batch, and sizes that are rare just now need not be tried to be known.
    """

    def __init__(self, seconds: Mapping[int, float]) -> None:
        """``seconds`` that a batch of each size took, once everything was set up."""
        self._sizes = sorted(seconds)
        self._base: list[float] = []
        for size in self._sizes:  # a larger batch that seems quicker is noise of the measurement
            self._base.append(max(seconds[size], 1e-6, *self._base[-1:]))
        self._slowness: deque[tuple[float, float]] = deque(maxlen=MOST)
        self._factor = 1.0

    def note(self, size: int, seconds: float, now: float) -> None:
        """A batch of ``size`` inputs took ``seconds`` and has ended ``now``."""
        above = self._base[min(bisect_left(self._sizes, size), len(self._sizes) - 1)]
        below = self._base[max(bisect_right(self._sizes, size) - 1, 0)]
        # A size between two of the warm-up costs as much as either, or something between: who knows the
        # engine's way only learns from it where even that does not agree with what was seen before.
        slowness = min(max(self._factor, seconds / above), seconds / below)
        self._slowness.append((now, slowness))
        while len(self._slowness) > MEMORY and now - self._slowness[0][0] > LASTING:
            self._slowness.popleft()
        if len(self._slowness) > MEMORY // 4:
            self._factor = median(slowness for _, slowness in self._slowness)

    def seconds(self, size: int) -> float:
        """What a batch takes now; a size between two of the warm-up as long as the larger."""
        return self._base[min(bisect_left(self._sizes, size), len(self._sizes) - 1)] * self._factor

    @property
    def at_start(self) -> float:
        """Inputs per second by the times of the warm-up."""
        return max(size / seconds for size, seconds in zip(self._sizes, self._base, strict=True))

    @property
    def now(self) -> float:
        """Inputs per second, in batches of the best size."""
        return self.at_start / self._factor

    def largest_within(self, seconds: float) -> int:
        """The largest size of the warm-up whose batches take no longer than ``seconds``; at least 1."""
        return max((size for size in self._sizes if self.seconds(size) <= seconds), default=1)
