"""VGG16 with a small dense head.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015
(arXiv:1409.1556), as built by ``keras.applications``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras

from models.architectures.architecture import Architecture, Kind
from models.architectures.dense_head import dense_head, pooled
from models.imagenet import download_into
from models.preprocessing import Preprocessing
from models.settings import TrainingSettings


def network(
    x: Any, classes: int, *, pooling: str = "none", dense: Sequence[int] = (256,), dropout: float = 0.5
) -> Any:
    """From images less the means of ImageNet to logits; see ``dense_head`` for the options.

    138,357,544 parameters for 224×224×3 images, 1000 classes, ``pooling`` none and ``dense`` (4096, 4096).
    """
    base = keras.applications.VGG16(include_top=False, weights=None, input_tensor=x)
    return dense_head(pooled(base.output, pooling), classes, dense, dropout)


_PREPROCESSING = Preprocessing(height=96, width=96)

ARCHITECTURE = Architecture(
    name="vgg16",
    kind=Kind.FRAME,
    paper="Simonyan, Zisserman: Very Deep Convolutional Networks, ICLR 2015, arXiv:1409.1556",
    network=network,
    preprocessing=_PREPROCESSING,
    settings=TrainingSettings(
        architecture="vgg16", preprocessing=_PREPROCESSING, train_size=0, unfreeze="block5"
    ),
    stages={f"block{number}": f"block{number}_conv1" for number in range(1, 6)},
    load_weights=partial(download_into, "VGG16"),
)
