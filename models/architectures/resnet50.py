"""ResNet50 with a small dense head.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv:1512.03385), as
built by ``keras.applications``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

FIRST_LAYER_OF_STAGE = {
    "conv1": "conv1_pad",
    "conv2": "conv2_block1_1_conv",
    "conv3": "conv3_block1_1_conv",
    "conv4": "conv4_block1_1_conv",
    "conv5": "conv5_block1_1_conv",
}

HEAD = frozenset({"head_dense", "head_logits"})
"""Names of the layers that are not part of the base."""


def build(
    classes: int,
    *,
    mean: Sequence[float] = (103.939, 116.779, 123.68),
    scale: float = 1.0,
    channels: str = "bgr",
    dense: int = 512,
    dropout: float = 0.5,
    height: int | None = None,
    width: int | None = None,
) -> Any:
    """Return a model from (N, height, width, 3) images to (N, classes) logits.

    Images hold values of 0 to 255 in BGR order; the subtraction of ``mean`` (in the order of
    ``channels``) is the first layer, so that it cannot differ between training and serving. The head
    is average pooling, ``dense`` ReLU units, dropout and a linear layer. Weights are random.
    """
    inputs = keras.Input((height, width, 3), name="image")
    x = inputs
    if channels == "rgb":
        x = keras.ops.flip(x, axis=-1)
    x = layers.Rescaling(scale, offset=[-scale * value for value in mean], name="subtract_mean")(x)
    base = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x, pooling="avg")
    x = base.output
    if dense:
        x = layers.Dense(dense, activation="relu", name="head_dense")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    logits = layers.Dense(classes, dtype="float32", name="head_logits")(x)
    return keras.Model(inputs, logits, name="resnet50")
