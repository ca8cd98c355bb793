"""What a network in training is judged by, beside its loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

TEMPERATURES = np.geomspace(0.25, 4, 33).astype(np.float32)


@keras.saving.register_keras_serializable(package="video_events")
class CalibratedLoss(keras.metrics.Metric):  # type: ignore[misc]
    """Mean cross-entropy of logits at that of ``TEMPERATURES`` at which it is lowest.

    A network that is trained on soft labels doubts too much, and one that has seen its images often is too
    sure. A temperature mends either (Guo et al., 2017) and is fitted in the end anyway; so this loss is what
    a network will be worth, while the plain one chooses the epoch whose sureness happens to be right.
    """

    def __init__(self, name: str = "calibrated_loss", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.sums = self.add_weight(shape=TEMPERATURES.shape, initializer="zeros", name="sums")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def update_state(self, truth: Any, logits: Any, sample_weight: Any = None) -> None:
        """``truth`` and ``logits`` are (N, classes); all rows count alike."""
        truth, logits = ops.cast(truth, "float32"), ops.cast(logits, "float32")
        scaled = logits[:, None, :] / ops.convert_to_tensor(TEMPERATURES)[None, :, None]
        losses = -ops.sum(truth[:, None, :] * ops.log_softmax(scaled, axis=-1), axis=-1)
        self.sums.assign(self.sums + ops.sum(losses, axis=0))
        self.count.assign(self.count + ops.cast(ops.shape(logits)[0], "float32"))

    def result(self) -> Any:
        return ops.min(self.sums) / ops.maximum(self.count, 1)
