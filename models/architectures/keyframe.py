"""What ``keyframe_cnn2`` and ``keyframe_cnn4`` share: blocks of convolution, ReLU, pooling and dropout.

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings of the
IEEE 1998, with ReLU (Nair, Hinton, ICML 2010) and dropout (Srivastava et al., JMLR 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES
from models.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(height=128, width=128, channels="grey", mean=(0.0,), standardise=True)
"""One channel, each image with zero mean and unit deviation."""


def blocks(x: Any, classes: int, filters: Sequence[int], pool: int, dense: int, dropout: float) -> Any:
    """A 3×3 convolution of each of ``filters``, ReLU, max-pooling and dropout; then one dense layer.

    ``pool`` is the side of the pooled squares.
    """
    for number, units in enumerate(filters, 1):
        x = layers.Conv2D(units, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(pool, name=f"pool{number}")(x)
        x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name=FEATURES)(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)
