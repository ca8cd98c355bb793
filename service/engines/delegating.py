"""What classifiers that change something about another one have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.types import Classifier, Image


class DelegatingClassifier:
    """Another classifier, unchanged: those that inherit say only in what they differ from it."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @property
    def labels(self) -> tuple[str, ...]:
        return self._classifier.labels

    @property
    def frames(self) -> int:
        return self._classifier.frames

    @property
    def views(self) -> int:
        return self._classifier.views

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._classifier.model_input(image, view)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._classifier.classify(inputs)

    def reset(self) -> None:
        self._classifier.reset()
