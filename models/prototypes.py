"""Recognition from a few examples, without training: nearest prototypes on a network's features.

Snell, Swersky, Zemel: Prototypical Networks for Few-shot Learning, NeurIPS 2017 (arXiv:1703.05175): a label
is the mean of its examples in feature space, and what is nearer to it than to any other label is taken for
it. Features are first made comparable: their square root (Hellinger's), unit length, centred, and damped
along the directions in which images of one label differ most from each other, which is a linear discriminant
with a covariance of low rank (Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, 4.3).

What the network knows already joins in by its own probabilities. A learned label has odds against all of
them together, which come from how much nearer the image is to its prototype than to those of the known
labels (``Reference``), and than its own examples are from each other. Known labels keep their ratios.
Pure NumPy; no state.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from models.errors import ModelError

Floats = npt.NDArray[np.float32]

SCALE: Final = 20.0
"""Logits per unit of cosine, chosen on validation images; see models/README.md."""
MARGIN: Final = 0.8
"""Logits that a learned label is held back by, so that known ones lose little."""
RANK: Final = 32
DAMPING: Final = 5.0
"""Spread, in multiples of that of an average direction, up to which a direction is left as it is."""
SLACK: Final = 2.5
"""Standard deviations of the examples' own similarities that a new image may fall short of them."""
FLOOR: Final = 0.08
"""Least standard deviation of these similarities: few examples may happen to be much alike."""
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Reference:
    """What images of the known labels look like to a network: means, and how images of one label differ.

    ``means`` is (labels, width), ``centre`` (width,), ``directions`` (width, rank) orthonormal, ``damping``
    (rank,) the share of each direction to take away.
    """

    labels: tuple[str, ...]
    means: Floats
    centre: Floats
    directions: Floats
    damping: Floats

    @classmethod
    def none(cls, width: int) -> Self:
        """For a network of which nothing is known but its probabilities."""
        empty = np.zeros((0, width), np.float32)
        return cls((), empty, np.zeros(width, np.float32), empty.T, np.zeros(0, np.float32))

    @classmethod
    def of(
        cls, features: Floats, truth: npt.NDArray[np.int64], labels: Sequence[str], rank: int = RANK
    ) -> Self:
        """From (N, width) features of images whose labels are ``labels[truth]``, some of every label.

        Raises ModelError where a label has no image.
        """
        flat = _flatten(features)
        missing = [label for i, label in enumerate(labels) if not (truth == i).any()]
        if missing:
            raise ModelError(f"a reference needs images of every label; there is none of {missing}")
        means: Floats = np.stack([flat[truth == i].mean(axis=0) for i in range(len(labels))])
        directions, spread, rest = _principal(flat - means[truth], rank)
        damping = np.maximum(0.0, 1 - np.sqrt(DAMPING * rest / (spread + DAMPING * rest)))
        return cls(tuple(labels), means, means.mean(axis=0), directions, damping.astype(np.float32))

    def embed(self, features: Floats) -> Floats:
        """Return (N, width) vectors of unit length, to be compared by their dot product."""
        return self._place(_flatten(features))

    @property
    def known(self) -> Floats:
        """(labels, width) prototypes of the known labels."""
        return self._place(self.means)

    def _place(self, flat: Floats) -> Floats:
        moved = flat - self.centre
        return _unit(moved - ((moved @ self.directions) * self.damping) @ self.directions.T)

    def save(self, path: Path, network: str) -> None:
        """Write it in bytes rather than floats, some 90 KB for 23 labels; ``network`` says whose it is."""
        means, mean_steps = _quantized(self.means)
        directions, steps = _quantized(self.directions.T)
        np.savez_compressed(
            path,
            format=FORMAT,
            network=network,
            labels=np.array(self.labels),
            means=means,
            mean_steps=mean_steps,
            directions=directions,
            steps=steps,
            damping=self.damping,
        )

    @classmethod
    def load(cls, path: Path, network: str) -> Self:
        """Raises ModelError for a file that is damaged or of another network."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT or str(file["network"]) != network:
                    raise ModelError(f"{path} belongs to another network or version; make it again")
                means = file["means"].astype(np.float32) * file["mean_steps"]
                directions = (file["directions"].astype(np.float32) * file["steps"]).T
                labels = tuple(str(label) for label in file["labels"])
                return cls(
                    labels, means, np.asarray(means.mean(axis=0), np.float32), directions, file["damping"]
                )
        except (OSError, KeyError, ValueError, BadZipFile, zlib.error) as error:
            raise ModelError(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Prototypes:
    """Learned labels of one network. ``vectors`` is (labels, width), ``known`` the same of known labels.

    A similarity below a label's entry of ``levels`` (labels,) speaks against it, whatever else the image is.
    """

    labels: tuple[str, ...]
    reference: Reference
    vectors: Floats
    levels: Floats
    known: Floats

    @classmethod
    def fit(cls, examples: Mapping[str, Floats], reference: Reference) -> Self:
        """From (n, width) features of the examples of each label; raises ModelError for a label without."""
        vectors, levels = [], []
        for label, features in examples.items():
            if not len(features):
                raise ModelError(f"label {label!r} has no examples")
            embedded = reference.embed(features)
            vectors.append(_unit(embedded.mean(axis=0)))
            levels.append(_level(embedded))
        width = reference.centre.shape[0]
        return cls(
            tuple(examples),
            reference,
            np.array(vectors, np.float32).reshape(-1, width),
            np.array(levels, np.float32),
            reference.known,
        )

    def logits(self, features: Floats) -> Floats:
        """Return (N, labels): the logarithm of each label's odds against all known labels together."""
        if not self.labels:
            return np.zeros((len(features), 0), np.float32)
        embedded = self.reference.embed(features)
        rivals = np.broadcast_to(self.levels, (len(features), len(self.labels)))
        if len(self.known):
            nearest = (embedded @ self.known.T).max(axis=1, keepdims=True)
            rivals = np.maximum(rivals, nearest)
        return np.asarray(SCALE * (embedded @ self.vectors.T - rivals) - MARGIN, np.float32)


def joined(probabilities: Floats, logits: Floats) -> Floats:
    """Return (N, known + learned) probabilities that sum to 1; known labels keep their ratios.

    ``probabilities`` (N, known) sum to 1, ``logits`` (N, learned) are as of ``Prototypes``.
    """
    odds = np.exp(np.clip(logits.astype(np.float64), -60, 60))
    shares = np.concatenate([probabilities.astype(np.float64), odds], axis=1)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def alone(logits: Floats, beside: Floats) -> Floats:
    """Return (N, labels): what each label would have if it alone joined the known and those ``beside``.

    Both are logits as of ``Prototypes``, (N, labels) and (N, others).
    """
    odds = np.exp(np.clip(logits.astype(np.float64), -60, 60))
    rest = 1 + np.exp(np.clip(beside.astype(np.float64), -60, 60)).sum(axis=1, keepdims=True)
    return np.asarray(odds / (odds + rest), np.float32)


def _level(embedded: Floats) -> float:
    """How similar an example is to the mean of the others, on average, less slack."""
    count = len(embedded)
    if count < 2:
        return 0.5
    total = embedded.sum(axis=0)
    without = _unit(total - embedded)
    similarities = (embedded * without).sum(axis=1)
    return float(similarities.mean() - SLACK * max(FLOOR, float(similarities.std())))


def _flatten(features: Floats) -> Floats:
    """Square roots of features, with the sign of those that do not come out of a ReLU, at unit length."""
    return _unit(np.sign(features) * np.sqrt(np.abs(features)))


def _unit(vectors: npt.NDArray[Any]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _principal(rows: Floats, rank: int) -> tuple[Floats, Floats, float]:
    """The ``rank`` directions of greatest variance, the variance of each, and the mean of the others'.

    By random projection with two power iterations (Halko, Martinsson, Tropp, 2011); the same every time.
    """
    width = rows.shape[1]
    rank = min(rank, width - 1, len(rows))
    basis = np.random.default_rng(0).standard_normal((width, min(width, rank + 8))).astype(np.float32)
    for _ in range(2):
        basis, _ = np.linalg.qr(rows.T @ (rows @ basis))
    _, values, directions = np.linalg.svd(rows @ basis, full_matrices=False)
    spread = (values**2 / len(rows))[:rank].astype(np.float32)
    rest = max(1e-12, (float((rows**2).sum()) / len(rows) - float(spread.sum())) / (width - rank))
    return (basis @ directions.T)[:, :rank], spread, rest


def _quantized(rows: Floats) -> tuple[npt.NDArray[Any], Floats]:
    """(rows, width) in 8 bits with a step of its own for each row."""
    steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-9) / 127
    return np.round(rows / steps).astype(np.int8), steps.astype(np.float32)
