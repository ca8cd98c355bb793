"""How well a label is recognised from a few examples: N-way k-shot episodes on images set apart.

Vinyals et al.: Matching Networks for One Shot Learning, NeurIPS 2016 (arXiv:1606.04080). An episode draws N
labels, k examples of each and other images of the same labels, which are given the label of the nearest
prototype. Pure NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import DatasetError
from models.prototypes import Floats


@dataclass(frozen=True, slots=True)
class FewShotResult:
    """Mean accuracy of the episodes, and half the width of its 95 % confidence interval."""

    ways: int
    shots: int
    episodes: int
    accuracy: float
    interval: float

    def __str__(self) -> str:
        return f"{self.ways}-way {self.shots}-shot: {self.accuracy:.3f} ± {self.interval:.3f}"


def evaluate_episodes(
    embeddings: Floats,
    truth: npt.NDArray[np.int64],
    *,
    ways: int = 5,
    shots: int = 5,
    queries: int = 15,
    episodes: int = 600,
    seed: int = 1,
) -> FewShotResult:
    """Judge (N, d) embeddings of unit length, compared by cosine; the same result for the same seed.

    Raises DatasetError where there are too few labels, or none with ``shots`` examples and one to ask about.
    """
    labels = [label for label in np.unique(truth) if (truth == label).sum() > shots]
    if len(labels) < ways or ways < 2 or shots < 1:
        raise DatasetError(
            f"{ways}-way {shots}-shot episodes need {ways} labels with more than {shots} images each; "
            f"found {len(labels)}"
        )
    rows_of = {label: np.flatnonzero(truth == label) for label in labels}
    rng = np.random.default_rng(seed)
    accuracies = np.array([_episode(embeddings, rows_of, ways, shots, queries, rng) for _ in range(episodes)])
    spread = float(accuracies.std(ddof=1)) if episodes > 1 else 0.0
    return FewShotResult(
        ways, shots, episodes, float(accuracies.mean()), 1.96 * spread / float(np.sqrt(episodes))
    )


def _episode(
    embeddings: Floats,
    rows_of: dict[np.int64, npt.NDArray[np.int64]],
    ways: int,
    shots: int,
    queries: int,
    rng: np.random.Generator,
) -> float:
    chosen = rng.choice(np.array(list(rows_of)), ways, replace=False)
    prototypes, asked, answers = [], [], []
    for number, label in enumerate(chosen):
        rows = rng.permutation(rows_of[label])[: shots + queries]
        prototypes.append(embeddings[rows[:shots]].mean(axis=0))
        asked.append(embeddings[rows[shots:]])
        answers += [number] * (len(rows) - shots)
    means = np.stack(prototypes)
    means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    nearest = (np.concatenate(asked) @ means.T).argmax(axis=1)
    return float((nearest == np.array(answers)).mean())
