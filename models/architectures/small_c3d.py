"""A small C3D, for little data and CPUs: four 3×3×3 convolutions and pooling over what is left.

After Tran et al. (ICCV 2015, see ``c3d``); batch normalisation (Ioffe, Szegedy, 2015) in place of large dense
layers.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from models.architectures.architecture import FEATURES, Architecture, Kind
from models.architectures.c3d import PREPROCESSING
from models.settings import from_scratch

POOLS = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))


def network(x: Any, classes: int, *, frames: int = 16, filters: int = 16, dropout: float = 0.5) -> Any:
    """From normalised (N, t, h, w, c) clips to logits.

    Convolutions of 1, 2, 4 and 4 times ``filters``, each with batch normalisation, ReLU and a pooling,
    of which the first leaves time alone; the first moves by two pixels. Global average and maximum over
    space and time go through dropout into a linear layer. 181,970 parameters with 3 channels and 2 classes.
    """
    for number, (factor, pool) in enumerate(zip((1, 2, 4, 4), POOLS, strict=True), start=1):
        strides = (1, 2, 2) if number == 1 else 1
        x = layers.Conv3D(
            factor * filters, 3, strides=strides, padding="same", use_bias=False, name=f"conv{number}"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"bn{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
        x = layers.MaxPooling3D(pool, padding="same", name=f"pool{number}")(x)
    average = layers.GlobalAveragePooling3D(name="pool_avg")(x)
    maximum = layers.GlobalMaxPooling3D(name="pool_max")(x)
    x = layers.Concatenate(name=FEATURES)([average, maximum])
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


ARCHITECTURE = Architecture(
    name="small_c3d",
    kind=Kind.CLIP,
    paper="after Tran et al.: Learning Spatiotemporal Features with 3D CNNs, ICCV 2015, arXiv:1412.0767",
    network=network,
    preprocessing=PREPROCESSING,
    settings=from_scratch(
        architecture="small_c3d",
        preprocessing=PREPROCESSING,
        augmentation="clip",
        batch_size=8,
        learning_rate=1e-3,
    ),
)
