from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.benchmark.statistics import Spread, growth_exponent, quantile, significant, slope

finite = st.floats(-1e6, 1e6)


@given(values=st.lists(finite, min_size=1, max_size=30), share=st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    """What is printed as a median or a quartile is what the field calls so."""
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


@given(values=st.lists(finite, min_size=1, max_size=30))
def test_a_spread_is_in_order(values: list[float]) -> None:
    """Extremes, quartiles and median never contradict each other."""
    spread = Spread.of(values)
    assert spread.least <= spread.low <= spread.median <= spread.high <= spread.most
    assert spread.n == len(values)


@given(rise=st.floats(-100, 100), start=finite, count=st.integers(3, 20), outlier=finite)
def test_slope_is_not_moved_by_an_outlier(rise: float, start: float, count: int, outlier: float) -> None:
    """One hiccup of the machine does not make a flat line rise."""
    xs = [float(x) for x in range(count + 4)]
    ys = [start + rise * x for x in xs]
    ys[count // 2] = outlier
    assert slope(xs, ys) == pytest.approx(rise, rel=1e-3, abs=abs(start) * 1e-9 + 1e-6) or count < 4


def test_slope_without_a_direction() -> None:
    """Of one moment alone nobody can tell whether it rises."""
    assert slope([1.0, 1.0], [2.0, 3.0]) is None
    assert slope([], []) is None


@given(power=st.floats(0.2, 3), factor=st.floats(0.1, 100))
def test_growth_is_the_power(power: float, factor: float) -> None:
    """Linear growth is told as 1 and quadratic growth as 2, whatever a unit costs."""
    sizes = [1.0, 2.0, 4.0, 8.0]
    assert growth_exponent(sizes, [factor * size**power for size in sizes]) == pytest.approx(power)


def test_growth_of_nothing() -> None:
    """Without a size or a cost there is no growth to speak of."""
    assert growth_exponent([], []) is None
    assert growth_exponent([1, 2], [0, 5]) is None
    assert growth_exponent([2, 2], [1, 5]) is None


def test_significant_digits_keep_what_counts() -> None:
    """Rounding for the report keeps small and large figures alike, and integers as they are."""
    assert significant(123456.789, 4) == 123500
    assert significant(0.000123456, 3) == 0.000123
    assert significant(1234567) == 1234567
