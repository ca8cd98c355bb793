"""The tower that networks which learn distances share: four convolution blocks to a vector of unit length.

Four blocks of 3×3 convolutions are the usual embedding of the few-shot literature (Vinyals et al., 2016).
"""

from __future__ import annotations

from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES
from models.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(height=64, width=64, mean=(0.0, 0.0, 0.0), scale=1 / 255)


def network(x: Any, classes: int, *, filters: int = 32, size: int = 64) -> Any:
    """Four blocks of ``filters`` filters, a linear layer of ``size`` units, unit length; then prototypes."""
    for number in range(1, 5):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(size, name="embedding")(x)
    x = layers.UnitNormalization(dtype="float32", name=FEATURES)(x)
    return layers.Dense(classes, use_bias=False, dtype="float32", name="head_logits")(x)
