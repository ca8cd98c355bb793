"""Dates the beginning and the end of what is noisy: the one-sided cumulative sum of Page (1954).

"Continuous inspection schemes", Biometrika 41: ``S = max(0, S + p − 0.5)`` per frame grows while a label is
present, and a presence began at the first frame after S was last 0. A clean step is dated to its first
frame exactly, and a single wrong frame does not break a run. ``S' = max(0, S' + 0.5 − p)`` dates absence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.relabelling import Relabelling

DIVIDE = 0.5
"""The probability between present and absent."""

_Array = npt.NDArray[np.float64]


class Runs:
    """Since when each label has been present, and since when absent again: Page's sums of all labels.

    ``presence`` is ``S`` of the module's docstring. ``absence`` is ``S'`` counted from the onset of that
    presence. ``renewed`` is ``S`` counted from the onset of that absence: it takes the place of ``presence``
    once the label has left, so that the credit of a long run does not date the next run back to it.
    """

    def __init__(self, classes: int, low: float) -> None:
        self._low = low
        self._smoothed = np.zeros(classes)
        self._presence, self._onset = np.zeros(classes), np.zeros(classes)
        self._absence, self._absence_onset = np.zeros(classes), np.zeros(classes)
        self._renewed, self._renewed_onset = np.zeros(classes), np.zeros(classes)

    def update(self, raw: npt.NDArray[np.float32], pts: float, held: int | None) -> None:
        """Take in raw probabilities; ``held`` is the label of the event under way, never given up here."""
        excess = raw.astype(np.float64) - DIVIDE
        self._presence = _grow(self._presence, self._onset, excess, pts)
        self._absence = _grow(self._absence, self._absence_onset, -excess, pts)
        measured = self._presence > 0
        if held is not None:
            measured[held] = True
        self._absence[~measured] = 0.0
        self._renewed = _grow(self._renewed, self._renewed_onset, excess, pts)
        self._renewed[self._absence == 0] = 0.0

    def restart_fallen(self, smoothed: _Array) -> None:
        """Date afresh every label whose smoothed probability has just fallen below ``low``."""
        fallen = (self._smoothed >= self._low) & (smoothed < self._low) & (self._absence > 0)
        for label in np.flatnonzero(fallen):
            self.restart(int(label))
        self._smoothed = smoothed

    def restart(self, label: int) -> None:
        """Judge the presence of ``label`` from the onset of its absence on."""
        if self._absence[label] > 0:
            self._presence[label] = self._renewed[label]
            self._onset[label] = self._renewed_onset[label]
            self._absence[label] = self._renewed[label] = 0.0

    def relabel(self, move: Relabelling) -> None:
        """Go on with other labels."""
        self._smoothed = move.array(self._smoothed)
        self._presence, self._onset = move.array(self._presence), move.array(self._onset)
        self._absence, self._absence_onset = move.array(self._absence), move.array(self._absence_onset)
        self._renewed, self._renewed_onset = move.array(self._renewed), move.array(self._renewed_onset)

    def onset(self, label: int) -> float | None:
        """Return the pts of the first frame of the presence under way."""
        return float(self._onset[label]) if self._presence[label] > 0 else None

    def absence_onset(self, label: int) -> float | None:
        """Return the pts of the first frame of the absence under way."""
        return float(self._absence_onset[label]) if self._absence[label] > 0 else None


def _grow(total: _Array, onset: _Array, step: _Array, pts: float) -> _Array:
    """Return max(0, ``total`` + ``step``); write ``pts`` into ``onset`` where a sum may begin to grow."""
    onset[total == 0] = pts
    return np.maximum(0.0, total + step)
