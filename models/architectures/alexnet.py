"""AlexNet.

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012;
in one column, as in Krizhevsky: One Weird Trick for Parallelizing Convolutional Neural Networks, 2014
(arXiv:1404.5997), and without local response normalisation, which brings nothing (Simonyan, Zisserman, 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES, Architecture, Kind
from models.preprocessing import Preprocessing
from models.settings import from_scratch


def network(
    x: Any,
    classes: int,
    *,
    dense: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    batch_normalisation: bool = True,
) -> Any:
    """Five convolutions, overlapping max-pooling, ``dense`` ReLU units after dropout, a linear layer.

    62,378,344 parameters for 227×227×3 images and 1000 classes without ``batch_normalisation`` (Ioffe,
    Szegedy, 2015), which comes after each convolution and lets small data train the network from scratch.
    Takes images from 67×67 pixels upwards.
    """
    sizes = ((96, 11, 4), (256, 5, 1), (384, 3, 1), (384, 3, 1), (256, 3, 1))
    for number, (filters, kernel, stride) in enumerate(sizes, 1):
        x = layers.Conv2D(
            filters,
            kernel,
            stride,
            padding="valid" if number == 1 else "same",
            kernel_initializer="he_normal",
            name=f"conv{number}",
        )(x)
        if batch_normalisation:
            x = layers.BatchNormalization(momentum=0.9, name=f"conv{number}_bn")(x)
        x = layers.ReLU(name=f"conv{number}_relu")(x)
        if number in (1, 2, 5):
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten" if dense else FEATURES)(x)
    for number, units in enumerate(dense, 6):
        x = layers.Dropout(dropout, name=f"dropout{number}")(x)
        last = number == 5 + len(dense)
        x = layers.Dense(
            units,
            activation="relu",
            kernel_initializer="he_normal",
            name=FEATURES if last else f"dense{number}",
        )(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


_PREPROCESSING = Preprocessing(height=96, width=96, scale=1 / 58)

ARCHITECTURE = Architecture(
    name="alexnet",
    kind=Kind.FRAME,
    paper="Krizhevsky et al.: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012",
    network=network,
    preprocessing=_PREPROCESSING,
    settings=from_scratch(
        architecture="alexnet",
        preprocessing=_PREPROCESSING,
        augmentation="video",
        learning_rate=1e-4,
        epochs=40,
        patience=8,
    ),
)
