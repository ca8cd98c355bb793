"""Rolling average: exact, bounded, and the same wherever the window has been before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ConfigurationError
from service.smoothing import RollingAverage
from service.types import Prediction, SmoothedPrediction

LABELS = ("background", "a", "b")


def predictions(count: int, seed: int = 0, fps: float = 10.0) -> list[Prediction]:
    rows = np.random.default_rng(seed).dirichlet([0.3] * 3, count).astype(np.float32)
    return [Prediction(i, i / fps, row) for i, row in enumerate(rows)]


def run(average: RollingAverage, given: list[Prediction]) -> list[SmoothedPrediction]:
    return [average.update(prediction) for prediction in given]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 99))
def test_mean_of_the_last_window(count: int, window: int, seed: int) -> None:
    """Each result is the mean of the last predictions, of as many as there are at the start."""
    given = predictions(count, seed)
    for i, smoothed in enumerate(run(RollingAverage(LABELS, window), given)):
        rows = [p.probabilities.astype(np.float64) for p in given[max(0, i + 1 - window) : i + 1]]
        np.testing.assert_allclose(smoothed.probabilities, np.mean(rows, axis=0), atol=1e-7)
        assert smoothed.probabilities.dtype == np.float32
        assert smoothed.label == LABELS[int(np.argmax(smoothed.probabilities))]
        assert smoothed.confidence == smoothed.probabilities.max()
        assert smoothed.raw is given[i]


def test_window_of_one_is_the_raw_prediction() -> None:
    """``--window 1`` switches smoothing off without a rounding error, for tiny probabilities too."""
    tiny = np.array([1e-30, 1.0, 3e-12], np.float32)
    for smoothed in run(RollingAverage(LABELS, 1), [*predictions(20), Prediction(20, 2.0, tiny)]):
        np.testing.assert_array_equal(smoothed.probabilities, smoothed.raw.probabilities)


def test_the_past_leaves_no_trace() -> None:
    """After 20 000 frames the same window gives the same bits as on a fresh start: no drift."""
    last = predictions(32, seed=1)
    old, fresh = RollingAverage(LABELS, 32), RollingAverage(LABELS, 32)
    run(old, predictions(20_000, seed=2))
    np.testing.assert_array_equal(run(old, last)[-1].probabilities, run(fresh, last)[-1].probabilities)


def test_window_in_seconds_reaches_back_as_far_at_any_rate() -> None:
    """A window of one second holds 10 predictions at 10 fps and 5 at 5 fps."""
    for fps in (10.0, 5.0):
        given = predictions(40, fps=fps)
        result = run(RollingAverage(LABELS, seconds=1.0), given)[-1]
        rows = [p.probabilities.astype(np.float64) for p in given[-int(fps) :]]
        np.testing.assert_allclose(result.probabilities, np.mean(rows, axis=0), atol=1e-7)


def test_a_window_in_seconds_is_bounded_where_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source whose pts never rise does not fill the memory."""
    monkeypatch.setattr("service.smoothing.LONGEST_WINDOW", 20)
    given = predictions(50, fps=np.inf)
    result = run(RollingAverage(LABELS, seconds=1.0), given)[-1]
    rows = [p.probabilities.astype(np.float64) for p in given[-20:]]
    np.testing.assert_allclose(result.probabilities, np.mean(rows, axis=0), atol=1e-7)


def test_a_window_in_seconds_outlives_a_clock_that_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before has time to leave by number; the window is of so many seconds again."""
    monkeypatch.setattr("service.smoothing.LONGEST_WINDOW", 20)
    average, given = RollingAverage(LABELS, seconds=1.0), predictions(60)
    run(average, [replace(prediction, pts=prediction.pts + 3600) for prediction in predictions(30, seed=1)])
    expected = run(RollingAverage(LABELS, seconds=1.0), given)[-1]
    np.testing.assert_array_equal(run(average, given)[-1].probabilities, expected.probabilities)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"window": 0},
        {"window": 2.5},
        {"window": True},
        {"window": 10**9},
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"window": 4, "seconds": 1.0},
        {"labels": ()},
        {"labels": ("a", "a")},
    ],
)
def test_windows_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    """A window of no frames, of a fraction or of nothing is told at the start."""
    with pytest.raises(ConfigurationError, match=r"labels|window"):
        RollingAverage(**{"labels": LABELS, **wrong})


@pytest.mark.parametrize("row", [[0, np.nan, 0], [0, 1], [-0.1, 1, 0], [0, np.inf, 0]])
def test_probabilities_that_are_none_are_refused(row: list[float]) -> None:
    """One NaN would stay in a running sum for ever; it is refused and leaves the window as it was."""
    average = RollingAverage(LABELS, 32)
    with pytest.raises(ValueError, match="probabilities"):
        average.update(Prediction(0, 0.0, np.array(row, np.float32)))
    good = predictions(1)[0]
    np.testing.assert_array_equal(average.update(good).probabilities, good.probabilities)
