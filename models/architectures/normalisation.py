"""The first layers of every network: from BGR values of 0 to 255 to what the network has learnt on."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from models.preprocessing import Preprocessing

GREY_OF_BGR = (0.114, 0.587, 0.299)
"""Luma of ITU-R BT.601, as in OpenCV."""


def normalise(images: Any, preprocessing: Preprocessing) -> Any:
    """Do to (…, h, w, 3) images what ``preprocessing`` says: channels, means, scale, standardisation."""
    x = images
    if preprocessing.channels == "rgb":
        x = ops.flip(x, axis=-1)
    elif preprocessing.channels == "grey":
        x = Grey(name="grey")(x)
    mean, scale = preprocessing.mean, preprocessing.scale
    if isinstance(scale, tuple):
        offset = [-factor * value for factor, value in zip(scale, mean, strict=True)]
        x = layers.Rescaling(list(scale), offset=offset, name="subtract_mean")(x)
    else:
        x = layers.Rescaling(scale, offset=[-scale * value for value in mean], name="subtract_mean")(x)
    if preprocessing.standardise:
        x = Standardise(name="standardise")(x)
    return x


def finalize_normalization(network: Any) -> None:
    """Let every Normalization in ``network`` use the mean and variance that have just become its weights.

    Keras takes them up when it loads or adapts the layer itself, and not when they are assigned.
    """
    for layer in network.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
        elif hasattr(layer, "layers"):
            finalize_normalization(layer)


@keras.saving.register_keras_serializable(package="video_events")
class Grey(layers.Layer):  # type: ignore[misc]
    """The luma of (…, h, w, 3) BGR images, as (…, h, w, 1)."""

    def call(self, images: Any) -> Any:
        return ops.sum(images * ops.convert_to_tensor(GREY_OF_BGR, images.dtype), axis=-1, keepdims=True)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*shape[:-1], 1)


@keras.saving.register_keras_serializable(package="video_events")
class Standardise(layers.Layer):  # type: ignore[misc]
    """Give each (h, w, c) image of a batch zero mean and unit deviation; a plain one becomes zeros."""

    def call(self, images: Any) -> Any:
        axes = (-3, -2, -1)
        mean = ops.mean(images, axis=axes, keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(images - mean), axis=axes, keepdims=True))
        return (images - mean) / ops.maximum(deviation, 1.0)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape
