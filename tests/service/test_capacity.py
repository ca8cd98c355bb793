"""What the network can take, by what its batches take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import batch_sizes
from service.inference.capacity import CapacityEstimate

WARM_UP = {1: 0.02, 2: 0.03, 4: 0.05, 8: 0.1}


def test_capacity_is_that_of_the_best_batch() -> None:
    """The warm-up alone tells what to begin with; sizes between cost what the next larger one does."""
    estimate = CapacityEstimate(WARM_UP)
    assert (estimate.at_start, estimate.now) == (pytest.approx(80), pytest.approx(80))
    assert estimate.seconds(3) == 0.05
    assert [estimate.largest_within(seconds) for seconds in (0.2, 0.06, 0.01)] == [8, 4, 1]
    assert batch_sizes(1) == (1,)
    assert batch_sizes(6) == (1, 2, 4, 6)
    assert batch_sizes(8) == (1, 2, 4, 8)


@given(sizes=st.lists(st.integers(1, 8), min_size=40, max_size=60), slowness=st.floats(0.3, 10))
def test_capacity_follows_the_batches_that_run(sizes: list[int], slowness: float) -> None:
    """Whatever sizes come, and whether the engine pads them or not, the estimate does not go astray."""
    padding, flexible = CapacityEstimate(WARM_UP), CapacityEstimate(WARM_UP)
    for number, size in enumerate(sizes):
        above = min(known for known in WARM_UP if known >= size)
        below = max(known for known in WARM_UP if known <= size)
        between = (size - below) / (above - below) if above > below else 0.0
        seconds = WARM_UP[below] + between * (WARM_UP[above] - WARM_UP[below])
        padding.note(size, WARM_UP[above] * slowness, number)
        flexible.note(size, seconds * slowness, number)
    known = sum(size in WARM_UP for size in sizes) > len(sizes) * 0.6
    for estimate in (padding, flexible):
        if known:
            assert estimate.now == pytest.approx(80 / slowness, rel=0.01)
        assert 80 / slowness / 2.01 <= estimate.now <= 80 / slowness * 2.01


def test_one_hiccup_changes_nothing() -> None:
    """A batch that took seconds, because the machine was away, is no reason to lower anyone's rate."""
    estimate = CapacityEstimate(WARM_UP)
    for number in range(40):
        estimate.note(8, 5.0 if number % 10 == 9 else 0.1, number)
    assert estimate.now == pytest.approx(80)


def test_a_busy_moment_changes_nothing_either() -> None:
    """With short batches it takes seconds, not many batches, to be believed; a lasting change is."""
    estimate = CapacityEstimate(WARM_UP)
    for number in range(500):
        estimate.note(1, 0.02 if number < 400 else 0.05, number / 50)
        assert estimate.now == pytest.approx(80)
    for number in range(500, 700):
        estimate.note(1, 0.05, number / 50)
    assert estimate.now == pytest.approx(32)


def test_a_size_between_two_tells_only_what_is_certain() -> None:
    """As long as it may cost as much as the next larger one or less, its time is no sign of a change."""
    estimate = CapacityEstimate(WARM_UP)
    for number in range(40):
        estimate.note(3, 0.04, number)
    assert estimate.now == pytest.approx(80)


def test_a_few_batches_are_no_measurement() -> None:
    """The first ones after the start, when everything else starts too, do not make anyone's rate."""
    estimate = CapacityEstimate(WARM_UP)
    for number in range(8):
        estimate.note(8, 1.0, number)
    assert estimate.now == pytest.approx(80)
    estimate.note(8, 1.0, 8)
    assert estimate.now == pytest.approx(8)


def test_a_warm_up_without_order_makes_sense() -> None:
    """No batch is taken to be quicker than a smaller one, or to take no time; a time just met is met."""
    estimate = CapacityEstimate({1: 0.0, 2: 0.04, 4: 0.02, 8: 0.08})
    assert [estimate.seconds(size) for size in (2, 4, 8)] == [0.04, 0.04, 0.08]
    assert 0 < estimate.seconds(1) < 0.001
    assert [estimate.largest_within(seconds) for seconds in (0.08, 0.04)] == [8, 4]
