"""Who may classify how often, on a machine that cannot classify everything. Pure: time is an argument.

A stream with a rate of its own is *promised* that rate: it is admitted only if there is room for it. A
stream without one, or one that may be lowered, takes what the others leave: it is promised ``least``
inputs per second and shares the rest with its like, each as much as the others, none more than it asks
for (max-min fairness). When the machine falls behind even what was promised, all sink by the same factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 1e-6
SLACK: Final = 0.05
"""Share of the capacity by which it may change without rates following: they are not to flutter."""
LASTING: Final = 10.0
"""Seconds that a gain has to last."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one stream wants, in inputs per second: ``asked`` at most, of which ``promised`` at least."""

    asked: float
    promised: float


def promised(demands: Sequence[Demand]) -> float:
    """Inputs per second that are given away."""
    return sum(demand.promised for demand in demands)


def grants(demands: Sequence[Demand], budget: float) -> list[float]:
    """Divide ``budget`` inputs per second; one number per demand, above 0 where something is asked for."""
    given = promised(demands)
    if given > budget:
        return [demand.promised * budget / given for demand in demands]
    level = _level(demands, budget)
    return [min(demand.asked, max(demand.promised, level)) for demand in demands]


def _level(demands: Sequence[Demand], budget: float) -> float:
    """The height to which all are filled, from what they are promised up to what they ask for."""
    steps = sorted(
        {demand.promised for demand in demands} | {demand.asked for demand in demands} | {float("inf")}
    )
    filled, below = promised(demands), 0.0
    for step in steps:
        rising = sum(demand.promised <= below < demand.asked for demand in demands)
        if rising and filled + rising * (step - below) >= budget:
            return below + (budget - filled) / rising
        filled += rising * (step - below) if rising else 0.0
        below = step
    return float("inf")


class SteadyCapacity:
    """The capacity on which grants rest: follows a loss at once, and a gain when it has lasted."""

    def __init__(self) -> None:
        self._gain: float | None = None
        self._gain_since = 0.0
        self.value: float | None = None
        self.best = 0.0

    def update(self, measured: float, now: float) -> float:
        """Take in what was measured at ``now`` (seconds); return what to go by."""
        self.best = max(self.best, measured)
        if self.value is None or measured < self.value * (1 - SLACK):
            self.value, self._gain = measured, None
        elif measured <= self.value * (1 + SLACK):
            self._gain = None
        elif self._gain is None:
            self._gain, self._gain_since = measured, now
        else:
            self._gain = min(self._gain, measured)  # the least of the time, of which one can be sure
            if now - self._gain_since >= LASTING:
                self.value, self._gain = self._gain, None
        return self.value
