"""A model that knows fewer labels than it was trained for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.errors import ConfigurationError
from service.types import BACKGROUND, Classifier, Image


class RestrictedClassifier:
    """Another classifier, of which only the given labels and background remain.

    Probabilities are divided by their sum over what remains; the order is that of the model. Raises
    ``ConfigurationError`` for a label that the model does not have.
    """

    def __init__(self, classifier: Classifier, labels: Sequence[str]) -> None:
        check_labels(labels, classifier.labels)
        kept = [i for i, name in enumerate(classifier.labels) if name in labels or name == BACKGROUND]
        self._classifier = classifier
        self._columns = np.array(kept)
        self._labels = tuple(classifier.labels[i] for i in kept)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def model_input(self, image: Image) -> Image:
        return self._classifier.model_input(image)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        kept = self._classifier.classify(inputs)[:, self._columns].astype(np.float64)
        kept += 1e-12  # a frame of which nothing remains is undecided, not a division by zero
        shares: npt.NDArray[np.float64] = kept / kept.sum(axis=1, keepdims=True)
        return shares.astype(np.float32)


def check_labels(labels: Sequence[str], available: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` naming the first unknown label, the nearest one and all there are."""
    choice = sorted(set(available) - {BACKGROUND})
    if not labels:
        raise ConfigurationError(f"no label given; the model has: {', '.join(choice)}")
    for label in labels:
        if label not in available:
            near = difflib.get_close_matches(label.lower(), choice, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise ConfigurationError(f"unknown label {label!r}{hint} The model has: {', '.join(choice)}")
