"""Figures out of measurements; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with what lies around it: quartiles (``low``, ``high``), extremes, and how many values."""

    median: float
    low: float
    high: float
    least: float
    most: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises ValueError without any value."""
        return cls(
            median=quantile(values, 0.5),
            low=quantile(values, 0.25),
            high=quantile(values, 0.75),
            least=min(values),
            most=max(values),
            n=len(values),
        )

    def document(self) -> dict[str, float | int]:
        """For JSON, with six significant digits."""
        return {name: significant(value) for name, value in asdict(self).items()}


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest values (Hyndman and Fan, 1996, type 7).

    Raises ValueError without any value.

    >>> quantile([1, 2, 3, 4], 0.5)
    2.5
    """
    if not values:
        raise ValueError("a quantile of no values")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """How much y rises per x, by Theil and Sen: the median over all pairs, which outliers do not move.

    ``None`` where no two x differ. Takes time with the square of the number of points.

    >>> slope([0, 1, 2, 3, 4], [5, 7, 9, 11, 1000])
    2.0
    """
    slopes = [
        (ys[j] - ys[i]) / (xs[j] - xs[i])
        for i in range(len(xs))
        for j in range(i + 1, len(xs))
        if xs[j] != xs[i]
    ]
    return quantile(slopes, 0.5) if slopes else None


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """The power of the size with which a cost grows: 1 is linear, 2 quadratic.

    The slope of logarithm over logarithm; ``None`` where it cannot be told.
    """
    if min(sizes, default=0) <= 0 or min(costs, default=0) <= 0:
        return None
    return slope([math.log(size) for size in sizes], [math.log(cost) for cost in costs])


def rounded(value: float | None, digits: int = 6) -> float | None:
    """As ``significant``, where there is a value."""
    return None if value is None else significant(value, digits)


def significant(value: float, digits: int = 6) -> float:
    """``value`` with so many significant digits.

    >>> significant(1234.56789), significant(0.00012345678)
    (1234.57, 0.000123457)
    """
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(f"{value:.{digits}g}")
