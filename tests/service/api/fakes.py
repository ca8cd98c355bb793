"""Model providers that a clip's process can unpickle; light, because every process imports this."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.prototypes import Reference
from service.types import Classifier, Image
from tests.service.fakes import COLOURS, ColourClassifier, colour_reference


@dataclass(frozen=True)
class ColourProvider:
    """Colours; classifies nothing after ``free`` frames until the file ``gate`` exists, or dies of it.

    A batch takes ``seconds``.
    """

    gate: Path | None = None
    free: int = 0
    dies: bool = False
    hog: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return "colours 1"

    @property
    def network(self) -> str:
        return self.name

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(COLOURS)

    views = 1

    def open(self, batch_size: int) -> Classifier:
        return GatedClassifier(self)

    def reference(self) -> Reference:
        return colour_reference()

    def model_input(self, image: Image, view: int = 0) -> Image:
        """Runs in the process of the clip, which is the one to die or to take memory."""
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.hog:
            np.ones(self.hog, np.uint8)
        return ColourClassifier().model_input(image)


class GatedClassifier(ColourClassifier):
    def __init__(self, provider: ColourProvider) -> None:
        super().__init__()
        self._provider = provider
        self._seen = 0

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        gate = self._provider.gate
        while gate is not None and inputs.any() and self._seen >= self._provider.free and not gate.exists():
            time.sleep(0.01)
        time.sleep(self._provider.seconds)
        self._seen += len(inputs) if inputs.any() else 0  # the service warms up with black pictures
        return super().classify(inputs)
