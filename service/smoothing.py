"""Rolling average of predictions: one steady label in place of one that flickers frame by frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.errors import ConfigurationError
from service.relabelling import Relabelling
from service.types import Prediction, SmoothedPrediction

LONGEST_WINDOW = 10_000
"""Most predictions ever kept: bounds memory where time stands still in a window given in seconds."""

# Probabilities are summed as integers in units of 2⁻⁴⁰. Integer sums are exact, so adding the newest and
# subtracting the oldest for months leaves the same sum as adding up the window afresh.
_UNITS_PER_ONE = 2.0**40


class RollingAverage:
    """Mean of the most recent predictions; O(classes) per frame, and without drift.

    The window is given either in frames (``window``, the classic mode) or in seconds of media time
    (``seconds``: predictions with ``pts`` > newest − seconds), so that 5 and 30 frames per second can
    behave alike. At the start, and after ``reset``, the mean is over as many predictions as there are.
    """

    def __init__(
        self, labels: Sequence[str], window: int | None = None, seconds: float | None = None
    ) -> None:
        """Raise ConfigurationError for labels or a window that cannot work.

        ``labels`` name the classes in the order of the probabilities.
        """
        if not labels or len(set(labels)) != len(labels):
            raise ConfigurationError(f"labels must be one or more different names, got {list(labels)!r}")
        if window is not None and seconds is not None:
            raise ConfigurationError("give the window in frames or in seconds, not both")
        if seconds is None:
            if isinstance(window, bool) or not isinstance(window, int) or not 1 <= window <= LONGEST_WINDOW:
                raise ConfigurationError(
                    f"window must be a whole number of frames from 1 to {LONGEST_WINDOW}, got {window!r}"
                )
        elif not (math.isfinite(seconds) and seconds > 0):
            raise ConfigurationError(f"a window in seconds must be a positive number, got {seconds!r}")
        self._labels = tuple(labels)
        self._seconds = seconds
        self._kept: deque[tuple[float, npt.NDArray[np.int64]]] = deque(maxlen=window or LONGEST_WINDOW)
        self._sum = np.zeros(len(self._labels), np.int64)

    def update(self, prediction: Prediction) -> SmoothedPrediction:
        """Take in the newest prediction and return the mean of the window that ends with it.

        Raise ValueError unless there is one probability between 0 and 1 per label and a finite pts.
        """
        raw = prediction.probabilities
        if raw.shape != self._sum.shape:
            raise ValueError(f"expected {len(self._labels)} probabilities, got an array of shape {raw.shape}")
        if not np.all((raw >= 0) & (raw <= 1)) or not math.isfinite(prediction.pts):
            raise ValueError(
                f"frame {prediction.index}: probabilities must lie in 0..1 and pts must be finite, "
                f"got {raw!r} at {prediction.pts!r}"
            )
        self._keep(prediction)
        count = len(self._kept)
        # A window of one is the prediction itself: the grid of 2⁻⁴⁰ would cost the smallest values bits.
        mean = raw if count == 1 else (self._sum / (count * _UNITS_PER_ONE)).astype(np.float32)
        top = int(np.argmax(mean))
        return SmoothedPrediction(prediction, mean, self._labels[top], float(mean[top]))

    def relabel(self, labels: Sequence[str]) -> None:
        """Go on with other labels. The mean sums to less than 1 while it holds what a lost label had.

        Raises ConfigurationError for labels that cannot work.
        """
        move = Relabelling.between(self._labels, labels)
        self._labels = tuple(labels)
        kept = ((pts, move.array(units)) for pts, units in self._kept)
        self._kept = deque(kept, maxlen=self._kept.maxlen)
        self._sum = move.array(self._sum)

    def _keep(self, prediction: Prediction) -> None:
        units = np.rint(prediction.probabilities.astype(np.float64) * _UNITS_PER_ONE).astype(np.int64)
        if len(self._kept) == self._kept.maxlen:
            self._sum -= self._kept.popleft()[1]
        self._kept.append((prediction.pts, units))
        self._sum += units
        if self._seconds is not None:
            while self._kept[0][0] <= prediction.pts - self._seconds:
                self._sum -= self._kept.popleft()[1]
