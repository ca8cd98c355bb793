"""Capacity is divided, and never handed out twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.streams.sharing import Demand, SteadyCapacity, grants, promised


def demands() -> st.SearchStrategy[list[Demand]]:
    asked = st.floats(0.1, 100) | st.just(math.inf)
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
    steady = SteadyCapacity()
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


def test_a_gain_begins_anew_after_a_loss() -> None:
    """What was measured before the network slowed down says nothing about it now."""
    steady = SteadyCapacity()
    updates = [(60, 0), (80, 1), (50, 2), (80, 11.5), (80, 21), (80, 21.5)]
    assert [steady.update(measured, now) for measured, now in updates] == [60, 60, 50, 50, 50, 80]
