"""ResNet50 with a small dense head.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv:1512.03385), as
built by ``keras.applications``.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from models.architectures.architecture import Architecture, Kind
from models.imagenet import load_imagenet_weights
from models.preprocessing import Preprocessing
from models.settings import TrainingSettings


def network(x: Any, classes: int, *, dense: int = 512, dropout: float = 0.5) -> Any:
    """From images less the means of ImageNet to logits.

    The head on average pooling (2048 features) is ``dense`` ReLU units (0 leaves them out), dropout and
    a linear layer.
    """
    x = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x, pooling="avg").output
    if dense:
        x = layers.Dense(dense, activation="relu", name="head_dense")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


ARCHITECTURE = Architecture(
    name="resnet50",
    kind=Kind.FRAME,
    paper="He et al.: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385",
    network=network,
    preprocessing=Preprocessing(),
    settings=TrainingSettings(views=2),
    features="avg_pool",
    stages={
        "conv1": "conv1_pad",
        "conv2": "conv2_block1_1_conv",
        "conv3": "conv3_block1_1_conv",
        "conv4": "conv4_block1_1_conv",
        "conv5": "conv5_block1_1_conv",
    },
    load_weights=load_imagenet_weights,
    any_size=True,
)
