"""Joins what a network says of one thing in several views. Pure.

The logarithmic opinion pool (Genest and Zidek, 1986): the geometric mean of the views' probabilities, made to
sum to 1. It is the softmax of the mean of their logits, whatever the temperature, and it does not matter
whether labels are left out before or after. On photographs it is right a little more often than the
arithmetic mean, and surer where it is right; see ``models/artifacts/sports/README.md``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_LEAST = float(np.finfo(np.float32).tiny)
"""Stands for a probability of 0, whose logarithm no mean could have."""


def log_opinion_pool(probabilities: Floats) -> Floats:
    """(views, …, classes) probabilities to (…, classes); those of a single view are not touched."""
    if len(probabilities) == 1:
        return np.asarray(probabilities[0])
    weights = _geometric_mean(probabilities)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def pool_beside(shadows: Floats, probabilities: Floats) -> Floats:
    """(views, labels) probabilities of labels that each stand alone beside known ones, to (labels,).

    ``probabilities`` are those of the known labels, (views, classes), without it. The answer is what the pool
    would give each label if it were one of them.
    """
    if len(shadows) == 1:
        return np.asarray(shadows[0])
    there = _geometric_mean(shadows)
    absent = _geometric_mean(probabilities[:, :, np.newaxis] * (1 - shadows[:, np.newaxis])).sum(axis=0)
    return np.asarray(there / (there + absent), np.float32)


def _geometric_mean(rows: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(np.log(np.maximum(rows.astype(np.float64), _LEAST)).mean(axis=0)))
