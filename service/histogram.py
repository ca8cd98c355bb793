"""Counts of durations by size, as Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts[i]`` values were ≤ ``bounds[i]`` and above the bound before; the last count is the rest."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Durations:
    """Counts as it goes; ``histogram`` is a copy at one moment. One thread adds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(SECONDS_BOUNDS, seconds)] += 1
        self._total += seconds

    def histogram(self) -> Histogram:
        return Histogram(SECONDS_BOUNDS, tuple(self._counts), self._total)
