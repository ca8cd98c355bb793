"""A model that knows fewer labels than it was trained for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.engines.delegating import DelegatingClassifier
from service.errors import ConfigurationError
from service.types import BACKGROUND, Classifier, Judgement, judged
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
        self._choice = self._choose(classifier.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """As of the last answer."""
        return self._choice.labels

    @property
    def lanes(self) -> int:
        return lanes_of(self._classifier)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self.judge(inputs).probabilities

    def judge(self, inputs: npt.NDArray[np.uint8]) -> Judgement:
        """As ``Judge``; labels on trial are not among the wanted ones."""
        said = judged(self._classifier, inputs)
        choice = self._choice
        if said.labels != choice.available:
            choice = self._choice = self._choose(said.labels)
        kept = said.probabilities[:, choice.columns].astype(np.float64)
        kept += 1e-12  # a frame of which nothing remains is undecided, not a division by zero
        shares: npt.NDArray[np.float64] = kept / kept.sum(axis=1, keepdims=True)
        return Judgement(choice.labels, shares.astype(np.float32), (), np.zeros((len(inputs), 0), np.float32))

    def _choose(self, available: tuple[str, ...]) -> _Choice:
        columns = [place for place, name in enumerate(available) if name in self._wanted]
        if not any(available[place] != BACKGROUND for place in columns):
            wanted = ", ".join(sorted(self._wanted - {BACKGROUND}))
            raise ConfigurationError(f"the model does not know {wanted} any more")
        return _Choice(available, np.array(columns), tuple(available[place] for place in columns))


@dataclass(frozen=True, slots=True)
class _Choice:
    """What of ``available`` labels is wanted: ``labels``, which are at ``columns``."""

    available: tuple[str, ...]
    columns: npt.NDArray[np.int64]
    labels: tuple[str, ...]


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
            hint = f"; did you mean {near[0]!r}? The" if near else "; the"
            raise ConfigurationError(f"unknown label {label!r}{hint} model has: {', '.join(choice)}")
