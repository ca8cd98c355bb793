"""How steady the labels of a video are: changes per 100 frames, as they come and after a rolling mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from models.sequences import Window, runs

Floats = npt.NDArray[np.float32]
SMOOTHING = (8, 32)
"""Windows of the rolling mean that are reported; 32 is what serving starts with."""


def flicker(probabilities: Floats, truth: npt.NDArray[np.int64], judged: Sequence[Window]) -> dict[str, Any]:
    """Changes of the top label per 100 frames, and accuracy: of ``truth``, as judged, and smoothed.

    Rows of (N, classes) ``probabilities`` belong to ``judged``, in order; nothing is smoothed or counted
    over a cut.
    """
    parts = stretches(judged)
    result: dict[str, Any] = {
        "truth": _changes(truth, parts),
        "raw": _changes(probabilities.argmax(axis=1), parts),
    }
    for window in SMOOTHING:
        smoothed = np.concatenate([rolling_mean(probabilities[part], window) for part in parts])
        labels = smoothed.argmax(axis=1)
        result[f"smoothed_{window}"] = _changes(labels, parts)
        result[f"accuracy_smoothed_{window}"] = round(float((labels == truth).mean()), 4)
    return result


def stretches(judged: Sequence[Window]) -> list[slice]:
    """Where one window follows upon the other frame by frame."""
    lengths = [len(run) for run in runs(window.frames[-1] for window in judged)]
    return [slice(end - length, end) for length, end in zip(lengths, accumulate(lengths), strict=True)]


def rolling_mean(rows: Floats, window: int) -> Floats:
    """For each row the mean of the last ``window`` rows up to it, or of as many as there are."""
    sums = np.cumsum(np.concatenate([np.zeros((1, rows.shape[1])), rows.astype(np.float64)]), axis=0)
    ends = np.arange(1, len(rows) + 1)
    begins = np.maximum(0, ends - window)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins)[:, None], np.float32)


def _changes(labels: npt.NDArray[np.int64], parts: Sequence[slice]) -> float:
    changes = sum(int((np.diff(labels[part]) != 0).sum()) for part in parts)
    return round(100 * changes / max(1, len(labels)), 2)
