"""The head that networks with a pretrained base share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES

MOST_DENSE = 3


def pooled(x: Any, pooling: str) -> Any:
    """(N, h, w, c) as (N, d) ``features``: the average, the maximum or all (``none``) of each channel."""
    kinds = {
        "avg": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
        "none": layers.Flatten,
    }
    if pooling not in kinds:
        raise ValueError(f"no pooling {pooling!r}; there are {', '.join(kinds)}")
    return kinds[pooling](name=FEATURES)(x)


def dense_head(x: Any, classes: int, dense: Sequence[int], dropout: float) -> Any:
    """Up to three dense ReLU layers of ``dense`` units, each followed by dropout; a linear layer."""
    if len(dense) > MOST_DENSE:
        raise ValueError(f"{len(dense)} dense layers are too many; at most {MOST_DENSE}")
    for number, units in enumerate(dense, 1):
        x = layers.Dense(units, activation="relu", name=f"head_dense{number}")(x)
        x = layers.Dropout(dropout, name=f"head_dropout{number}")(x)
    if not dense:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)
