"""Capacity and its division: measured, promised, shared, never handed out twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.batching import batch_sizes
from service.errors import ConfigurationError
from service.inference.admission import (
    AdmissionSettings,
    Demand,
    SteadyCapacity,
    grants,
    promised,
)
from service.inference.capacity import CapacityEstimate

RATES = st.floats(0.1, 100)
WARM_UP = {1: 0.02, 2: 0.03, 4: 0.05, 8: 0.1}


def demands() -> st.SearchStrategy[list[Demand]]:
    asked = RATES | st.just(math.inf)
    pairs = st.tuples(asked, st.floats(0.1, 20))
    return st.lists(pairs.map(lambda pair: Demand(pair[0], min(pair))), min_size=1, max_size=12)


@given(wanted=demands(), budget=st.floats(0.1, 500))
def test_a_budget_is_used_up_and_never_exceeded(wanted: list[Demand], budget: float) -> None:
    """Nothing is given twice, nobody gets more than he asked for, nothing is held back while one wants."""
    given_out = grants(wanted, budget)
    asked = sum(demand.asked for demand in wanted)
    assert sum(given_out) == pytest.approx(min(budget, asked))
    for demand, rate in zip(wanted, given_out, strict=True):
        assert 0 < rate <= demand.asked


@given(wanted=demands(), budget=st.floats(0.1, 500))
def test_who_asks_for_more_takes_nothing_from_others(wanted: list[Demand], budget: float) -> None:
    """Promises are kept while they can be; beyond them nobody has more than one who is held back."""
    assume(promised(wanted) <= budget)
    given_out = grants(wanted, budget)
    for demand, rate in zip(wanted, given_out, strict=True):
        assert rate >= demand.promised * (1 - 1e-9)
        if rate < demand.asked * (1 - 1e-9):  # held back
            for other, more in zip(wanted, given_out, strict=True):
                assert more <= max(rate, other.promised) * (1 + 1e-9)


@given(wanted=demands(), share=st.floats(0.01, 0.99))
def test_all_sink_alike_when_promises_cannot_be_kept(wanted: list[Demand], share: float) -> None:
    """A machine that has become slow starves nobody: every stream keeps the same part of its promise."""
    for demand, rate in zip(wanted, grants(wanted, promised(wanted) * share), strict=True):
        assert rate == pytest.approx(demand.promised * share)


def test_what_a_division_looks_like() -> None:
    """A promise of 20, one of 5, and two that take what is left, of which one wants little."""
    wanted = [Demand(20, 20), Demand(5, 5), Demand(math.inf, 1), Demand(3, 1)]
    assert grants(wanted, 60) == [20, 5, 32, 3]
    assert grants(wanted, 30) == [20, 5, 2.5, 2.5]
    assert grants(wanted, 27) == [20, 5, 1, 1]
    assert grants(wanted, 13.5) == [10, 2.5, 0.5, 0.5]
    assert grants([], 10) == []


def test_capacity_follows_losses_at_once_and_gains_that_last() -> None:
    """A slow second costs no stream its rate for long, and a quick one promises nothing."""
    steady = SteadyCapacity(slack=0.05, patience=10)
    assert steady.update(100, 0) == 100
    assert steady.update(97, 1) == 100
    assert steady.update(60, 2) == 60
    assert steady.update(90, 3) == 60
    assert steady.update(50, 4) == 50
    assert steady.update(80, 5) == 50
    assert steady.update(51, 6) == 50  # no gain any more: its time begins anew
    assert [steady.update(80, now) for now in (7, 12)] == [50, 50]
    assert steady.update(70, 16.9) == 50
    assert steady.update(90, 17) == 70
    assert steady.best == 100


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


@pytest.mark.parametrize("settings", [{"headroom": 1.0}, {"headroom": -0.1}, {"least": 0.0}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    """A mistyped share is told at once."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        AdmissionSettings(**settings).check()


def test_a_gain_begins_anew_after_a_loss() -> None:
    """What was measured before the network slowed down says nothing about it now."""
    steady = SteadyCapacity(patience=10)
    updates = [(60, 0), (80, 1), (50, 2), (80, 11.5), (80, 21), (80, 21.5)]
    assert [steady.update(measured, now) for measured, now in updates] == [60, 60, 50, 50, 50, 80]


def test_a_gain_has_to_last_ten_seconds() -> None:
    """Unless something else is said."""
    steady = SteadyCapacity()
    assert [steady.update(measured, now) for measured, now in ((50, 0), (80, 1), (80, 10.9))] == [50] * 3
    assert steady.update(80, 11) == 80


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
