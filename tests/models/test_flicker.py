"""Changes of the label are counted, and smoothed, within videos only."""

from pathlib import Path

import numpy as np

from models.flicker import flicker, rolling_mean, stretches
from models.sequences import VideoFrame, Window


def judged(*numbers: tuple[str, int]) -> list[Window]:
    return [Window((VideoFrame(Path("x.jpg"), video, number, "a", "test"),)) for video, number in numbers]


def test_a_cut_is_no_change() -> None:
    """The end of one video and the beginning of the next, or a hole, are not flicker."""
    windows = judged(("v", 1), ("v", 2), ("v", 5), ("w", 6), ("w", 7))
    assert stretches(windows) == [slice(0, 2), slice(2, 3), slice(3, 5)]
    rows = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    figures = flicker(rows, np.array([0, 0, 1, 0, 0]), windows)
    assert (figures["truth"], figures["raw"], figures["smoothed_8"]) == (0.0, 20.0, 0.0)
    assert figures["accuracy_smoothed_8"] == 1.0


def test_rolling_mean_looks_back_only() -> None:
    """What is smoothed is what serving would have shown."""
    rows = np.array([[1.0], [0.0], [0.0], [1.0]], np.float32)
    np.testing.assert_allclose(rolling_mean(rows, 2).ravel(), [1, 0.5, 0, 0.5])
    np.testing.assert_allclose(rolling_mean(rows, 9).ravel(), [1, 1 / 2, 1 / 3, 1 / 2])
