"""How a network's weights follow the gradient: SGD, Adam or AdamW, with a faster head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras

from models.architectures import HEAD_PREFIX
from models.settings import TrainingSettings

MOMENTUM = 0.9
"""Nesterov's, of SGD."""


class _FasterHead:
    """Mixed into an optimizer: the rate is ``factor`` times as high for the head, which starts from less."""

    def __init__(self, learning_rate: Any = 1e-3, factor: float = 1.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)  # type: ignore[call-arg]
        self.factor = factor
        self._factors: list[float] = []

    def build(self, variables: Any) -> None:
        heads = [variable.path.startswith(HEAD_PREFIX) for variable in variables]
        self._factors = [self.factor if is_head else 1.0 for is_head in heads]
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="video_events")
class LayeredAdamW(_FasterHead, keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW (Loshchilov, Hutter, 2019) with a faster head."""


@keras.saving.register_keras_serializable(package="video_events")
class LayeredAdam(_FasterHead, keras.optimizers.Adam):  # type: ignore[misc]
    """Adam (Kingma, Ba, 2015) with a faster head."""


@keras.saving.register_keras_serializable(package="video_events")
class LayeredSGD(_FasterHead, keras.optimizers.SGD):  # type: ignore[misc]
    """Stochastic gradient descent with a faster head."""


def make_optimizer(settings: TrainingSettings, steps: int) -> Any:
    """The optimizer of stage two or of training from scratch, for ``steps`` batches in all."""
    rate = _rate(settings, steps)
    options: dict[str, Any] = {"factor": settings.head_factor}
    if settings.weight_average:
        options |= {"use_ema": True, "ema_momentum": settings.weight_average}
    if settings.optimizer == "adamw":
        return LayeredAdamW(rate, weight_decay=settings.weight_decay, **options)
    if settings.optimizer == "adam":
        return LayeredAdam(rate, **options)
    return LayeredSGD(rate, momentum=MOMENTUM, nesterov=True, **options)


def make_head_optimizer(settings: TrainingSettings) -> Any:
    """The optimizer of stage one, or of a head on a base that stays frozen."""
    rate = settings.head_learning_rate
    if settings.head_optimizer == "lecture_sgd":
        # Keras 2's ``decay``: the rate at step t is rate / (1 + decay · t)
        schedule = keras.optimizers.schedules.InverseTimeDecay(rate, 1, rate / settings.head_epochs)
        return keras.optimizers.SGD(schedule, momentum=MOMENTUM)
    if settings.head_optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    if settings.head_optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True)


def class_weight(
    settings: TrainingSettings, labels: Sequence[str], given: Sequence[str]
) -> dict[int, float] | None:
    """Weights by index in ``labels`` with which each label of ``given`` counts alike in the loss, or None."""
    if settings.class_weights == "none":
        return None
    number = Counter(given)
    return {index: len(given) / len(labels) / number[label] for index, label in enumerate(labels)}


def _rate(settings: TrainingSettings, steps: int) -> Any:
    if settings.schedule == "constant":
        return settings.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 20,
        max(1, steps - steps // 20),
        alpha=0.02,
        warmup_target=settings.learning_rate,
        warmup_steps=max(1, steps // 20),
    )
