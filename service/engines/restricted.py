"""A model that knows fewer labels than it was trained for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.engines.delegating import DelegatingClassifier
from service.errors import ConfigurationError
from service.types import BACKGROUND, Classifier
from service.windows import lanes_of


class RestrictedClassifier(DelegatingClassifier):
    """Another classifier, of which only the given labels and background remain.

    Probabilities are divided by their sum over what remains; the order is that of the model. A label that
    the model loses later is lost here too. Raises ``ConfigurationError`` for one that it does not have, and
    from ``classify`` once none is left: what is not looked for must not pass for background.
    """

    def __init__(self, classifier: Classifier, labels: Sequence[str]) -> None:
        check_labels(labels, classifier.labels)
        super().__init__(classifier)
        self._wanted = {*labels, BACKGROUND}
        self._choose()

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def lanes(self) -> int:
        return lanes_of(self._classifier)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        probabilities = self._classifier.classify(inputs)
        if self._classifier.labels != self._available:
            self._choose()
        kept = probabilities[:, self._columns].astype(np.float64)
        kept += 1e-12  # a frame of which nothing remains is undecided, not a division by zero
        shares: npt.NDArray[np.float64] = kept / kept.sum(axis=1, keepdims=True)
        return shares.astype(np.float32)

    def _choose(self) -> None:
        self._available = self._classifier.labels
        kept = [place for place, name in enumerate(self._available) if name in self._wanted]
        if not any(self._available[place] != BACKGROUND for place in kept):
            wanted = ", ".join(sorted(self._wanted - {BACKGROUND}))
            raise ConfigurationError(f"the model does not know {wanted} any more")
        self._columns = np.array(kept)
        self._labels = tuple(self._available[place] for place in kept)


def check_labels(labels: Sequence[str], available: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` naming the first unknown label, the nearest one and all there are.

    Background alone is no choice either: it never becomes an event.
    """
    choice = sorted(set(available) - {BACKGROUND})
    if not set(labels) - {BACKGROUND}:
        wrong = f"{BACKGROUND} is no label to choose, as it is never an event" if labels else "no label given"
        raise ConfigurationError(f"{wrong}; the model has: {', '.join(choice)}")
    for label in labels:
        if label not in available:
            near = difflib.get_close_matches(label.lower(), choice, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise ConfigurationError(f"unknown label {label!r}{hint} The model has: {', '.join(choice)}")
