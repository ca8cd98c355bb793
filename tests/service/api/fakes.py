"""Model providers that a clip's process can unpickle; light, because every process imports this."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.types import Classifier
from tests.service.fakes import COLOURS, ColourClassifier


@dataclass(frozen=True)
class ColourProvider:
    """Colours; classifies nothing after ``free`` frames until the file ``gate`` exists, or dies of it."""

    gate: Path | None = None
    free: int = 0
    dies: bool = False
    hog: int = 0

    @property
    def name(self) -> str:
        return "colours 1"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(COLOURS)

    def open(self, batch_size: int) -> Classifier:
        return GatedClassifier(self)


class GatedClassifier(ColourClassifier):
    def __init__(self, provider: ColourProvider) -> None:
        super().__init__()
        self._provider = provider

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self._provider.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._provider.hog:
            np.ones(self._provider.hog, np.uint8)
        gate = self._provider.gate
        while gate is not None and sum(self.batches) >= self._provider.free and not gate.exists():
            time.sleep(0.01)
        return super().classify(inputs)
