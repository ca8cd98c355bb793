"""A small convolutional network for small images.

The network of Keras' and TensorFlow's CIFAR-10 tutorials in its form with five convolutions (the data:
Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009).
"""

from __future__ import annotations

from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES, Architecture, Kind
from models.preprocessing import Preprocessing
from models.settings import from_scratch


def network(x: Any, classes: int, *, dense: int = 64, dropout: float = 0.0) -> Any:
    """Convolutions of 32-32-pool, 32-pool, 64-64-pool filters, ``dense`` ReLU units, a linear layer.

    79,626 parameters for 32×32×3 images and 10 classes.
    """
    number = 0
    for filters in ((32, 32), (32,), (64, 64)):
        for units in filters:
            number += 1
            x = layers.Conv2D(units, 3, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name=FEATURES)(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


_PREPROCESSING = Preprocessing(height=32, width=32, mean=(0.0, 0.0, 0.0), scale=1 / 255)

ARCHITECTURE = Architecture(
    name="small_cnn",
    kind=Kind.FRAME,
    paper="the CIFAR-10 tutorials' network; data: Krizhevsky, 2009",
    network=network,
    preprocessing=_PREPROCESSING,
    settings=from_scratch(architecture="small_cnn", preprocessing=_PREPROCESSING),
)
