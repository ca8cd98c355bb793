"""C3D: three-dimensional convolutions over windows of 16 frames.

Tran et al.: Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015 (arXiv:1412.0767):
eight 3×3×3 convolutions, five poolings, of which the first leaves time alone, and two dense layers of 4096.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES, Architecture, Kind
from models.preprocessing import Preprocessing
from models.settings import from_scratch

BLOCKS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Filters of the convolutions of each block, which ends with a pooling."""


def network(
    x: Any, classes: int, *, frames: int = 16, width: float = 1.0, dense: int = 4096, dropout: float = 0.5
) -> Any:
    """From normalised (N, 16, 112, 112, c) clips to logits.

    ``width`` multiplies all numbers of filters. With 3 channels, 487 classes and the paper's sizes the
    network has 79,991,015 parameters. Other lengths and sizes fit if each survives its poolings.
    """
    for number, block in enumerate(BLOCKS, start=1):
        for part, filters in zip("ab", block, strict=False):
            name = f"conv{number}{part if len(block) > 1 else ''}"
            x = layers.Conv3D(
                max(1, round(width * filters)), 3, padding="same", activation="relu", name=name
            )(x)
        if number == len(BLOCKS):
            x = layers.ZeroPadding3D(((0, 0), (0, 1), (0, 1)), name="pad5")(x)
        size = (1, 2, 2) if number == 1 else (2, 2, 2)
        x = layers.MaxPooling3D(size, name=f"pool{number}")(x)
    x = layers.Flatten(name=FEATURES)(x)
    for number in (6, 7):
        x = layers.Dense(dense, activation="relu", name=f"head_fc{number}")(x)
        x = layers.Dropout(dropout, name=f"head_dropout{number}")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


PREPROCESSING = Preprocessing(height=112, width=112, mean=(103.939, 116.779, 123.68), scale=1 / 64)

ARCHITECTURE = Architecture(
    name="c3d",
    kind=Kind.CLIP,
    paper="Tran et al.: Learning Spatiotemporal Features with 3D CNNs, ICCV 2015, arXiv:1412.0767",
    network=network,
    preprocessing=PREPROCESSING,
    settings=from_scratch(
        architecture="c3d",
        preprocessing=PREPROCESSING,
        augmentation="clip",
        batch_size=8,
        learning_rate=1e-4,
    ),
)
