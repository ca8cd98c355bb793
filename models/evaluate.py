"""How good a model is: tables, curves and calibration from labelled images that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.datasets import BACKGROUND, Sample, read_image
from models.errors import DatasetError
from models.opinion_pool import Floats, log_opinion_pool
from models.preprocessing import Image

Classify = Callable[[npt.NDArray[np.uint8]], Floats]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Probabilities (images, labels) of a model for images of known labels.

    ``truth`` holds indices into ``labels``.
    """

    labels: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    probabilities: Floats

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.truth).mean())

    def restricted(self, labels: Sequence[str]) -> Evaluation:
        """Only the images of ``labels``, probabilities renormalised over ``labels``, in that order."""
        columns = [self.labels.index(label) for label in labels]
        rows = np.isin(self.truth, columns)
        position = np.full(len(self.labels), -1, np.int64)
        position[columns] = np.arange(len(columns))
        return Evaluation(
            tuple(labels), position[self.truth[rows]], renormalise(self.probabilities[rows][:, columns])
        )

    def per_label(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support of each label."""
        from sklearn.metrics import precision_recall_fscore_support

        rows = precision_recall_fscore_support(
            self.truth, self.predicted, labels=np.arange(len(self.labels)), zero_division=0.0
        )
        return {
            label: {
                "precision": round(float(precision), 4),
                "recall": round(float(recall), 4),
                "f1": round(float(f1), 4),
                "support": int(support),
            }
            for label, precision, recall, f1, support in zip(self.labels, *rows, strict=True)
        }

    def confusion_matrix(self) -> list[list[int]]:
        """Rows are the true labels, columns the predicted ones."""
        matrix = np.zeros((len(self.labels), len(self.labels)), np.int64)
        np.add.at(matrix, (self.truth, self.predicted), 1)
        rows: list[list[int]] = matrix.tolist()
        return rows

    def calibration_error(self, bins: int = 15) -> float:
        """Expected calibration error: mean gap of confidence and accuracy (Naeini et al., 2015)."""
        confidence = self.probabilities.max(axis=1)
        right = self.predicted == self.truth
        bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
        gaps = [
            abs(float(right[bin_of == b].sum()) - float(confidence[bin_of == b].sum())) for b in range(bins)
        ]
        return sum(gaps) / len(self.truth)

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of the true labels, in nats."""
        true = self.probabilities[np.arange(len(self.truth)), self.truth].astype(np.float64)
        return float(-np.log(np.maximum(true, 1e-12)).mean())

    def areas(self) -> dict[str, dict[str, float | None]]:
        """Areas under the one-against-rest curves of each label: ``roc_auc`` and ``average_precision``.

        None where all images have the label, or none has.
        """
        from sklearn.metrics import average_precision_score, roc_auc_score

        areas: dict[str, dict[str, float | None]] = {"roc_auc": {}, "average_precision": {}}
        for index, label in enumerate(self.labels):
            positive = self.truth == index
            one_sided = bool(positive.all() or not positive.any())
            score = self.probabilities[:, index]
            for name, area in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
                areas[name][label] = None if one_sided else round(float(area(positive, score)), 4)
        return areas

    def event_rates(self, enter: float) -> dict[str, float]:
        """Share of images whose best label but background reaches ``enter``: of background, of the rest."""
        if BACKGROUND not in self.labels:
            return {}
        index = self.labels.index(BACKGROUND)
        foreground = np.delete(self.probabilities, index, axis=1).max(axis=1, initial=0.0) >= enter
        is_background = self.truth == index
        return {
            name: round(float(foreground[rows].mean()), 4)
            for name, rows in (("background", is_background), ("labels", ~is_background))
            if rows.any()
        }

    def summary(self, enter: float = 0.6) -> dict[str, Any]:
        """All figures by name, as ``video-events evaluate --json`` prints them."""
        return {
            "labels": list(self.labels),
            "n": len(self.truth),
            "accuracy": round(self.accuracy, 4),
            "calibration_error": round(self.calibration_error(), 4),
            "event_rates": {"enter": enter, **self.event_rates(enter)},
            "per_label": self.per_label(),
            "confusion_matrix": self.confusion_matrix(),
        }


def renormalise(probabilities: Floats) -> Floats:
    """Make rows sum to 1; a row of zeros becomes uniform."""
    totals = probabilities.sum(axis=1, keepdims=True)
    width = probabilities.shape[1]
    shares = np.where(totals > 0, probabilities / np.where(totals > 0, totals, 1), 1 / width)
    return np.asarray(shares, np.float32)


def evaluate(
    samples: Sequence[Sample],
    labels: Sequence[str],
    model_input: Callable[[Image, int], Image],
    classify: Classify,
    *,
    views: int = 1,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Classify every sample; ``progress`` is told the number done after each batch.

    Probabilities are pooled over the ``views``, as those of a still picture's frames would be.
    Raises DatasetError where a sample's label is not one of the model's.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    strangers = sorted({sample.label for sample in samples} - index_of.keys())
    if strangers or not samples:
        lacking = f"labels that the model lacks: {', '.join(strangers)}; choose some with --labels"
        raise DatasetError(f"the images to evaluate on hold {lacking if strangers else 'no image'}")
    rows = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        images = [read_image(sample.path) for sample in batch]
        seen = [classify(np.stack([model_input(each, view) for each in images])) for view in range(views)]
        rows.append(log_opinion_pool(np.stack(seen)))
        progress(start + len(batch))
    truth = np.array([index_of[sample.label] for sample in samples], np.int64)
    return Evaluation(tuple(labels), truth, np.concatenate(rows))


def fit_temperature(logits: Floats, truth: npt.NDArray[np.int64]) -> float:
    """The temperature that minimises the negative log-likelihood of ``truth`` (Guo et al., 2017).

    ``logits`` are (N, classes): of several views, their mean, whose softmax is the pool of the views.

    Targets are softened by what one more image, judged wrong, would tell (Platt, 1999): where all of a few
    images are right, plain likelihood would have the network be sure of everything.
    """
    from scipy.optimize import minimize_scalar

    loss = _doubted_loss(logits, truth)
    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fit_offset(logits: Floats, truth: npt.NDArray[np.int64], label: int) -> float:
    """What to add to the logits of ``label`` so that, with the best temperature, ``truth`` is most likely.

    One term of vector scaling (Guo et al., 2017), for a label that is less like what was learned than the
    others are. 0 where there are only images of it or none. ``logits`` and targets as in
    ``fit_temperature``.
    """
    from scipy.optimize import minimize

    of_label = truth == label
    if of_label.all() or not of_label.any():
        return 0.0
    column = np.eye(logits.shape[1])[label]
    loss = _doubted_loss(logits, truth)
    best = minimize(
        lambda x: loss(x[0], x[1] * column), [0.0, 0.0], bounds=((-3, 3), (-10, 10)), method="L-BFGS-B"
    )
    return float(best.x[1])


def _doubted_loss(logits: Floats, truth: npt.NDArray[np.int64]) -> Callable[..., float]:
    """The mean negative log-likelihood of softened ``truth``, by logarithm of temperature and offsets."""
    classes = logits.shape[1]
    doubt = 1 / (len(truth) + 2)
    targets = np.full((len(truth), classes), doubt / (classes - 1))
    targets[np.arange(len(truth)), truth] = 1 - doubt

    def loss(log_temperature: float, offsets: npt.NDArray[np.float64] | float = 0.0) -> float:
        scaled = (logits.astype(np.float64) + offsets) / np.exp(log_temperature)
        scaled -= scaled.max(axis=-1, keepdims=True)
        log_shares = scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
        return float(-(targets * log_shares).sum(axis=1).mean())

    return loss


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """The probabilities of (…, classes) logits."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float32)
