"""What clip networks have in common: a base that sees every frame alone, and the cut behind it.

A clip network is ``normalise → fold time → encoder → features (unfold time) → head``: the encoder is a
nested model, so that it can run alone when frames come one by one, and the head sees (N, t, d) features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from models.architectures.architecture import FEATURES
from models.architectures.normalisation import normalise
from models.errors import WeightsError
from models.imagenet import download, load_imagenet_weights
from models.preprocessing import Preprocessing

ENCODER = "encoder"
STATISTICS = "head_statistics"
BASES = ("resnet50", "vgg16", "small")
POOLINGS = ("avg", "max", "avg_max")


@keras.saving.register_keras_serializable(package="video_events")
class FoldTime(layers.Layer):  # type: ignore[misc]
    """(N, t, …) to (N·t, …): the frames of all clips as one batch."""

    def call(self, clips: Any) -> Any:
        return ops.reshape(clips, (-1, *clips.shape[2:]))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (None, *shape[2:])


@keras.saving.register_keras_serializable(package="video_events")
class UnfoldTime(layers.Layer):  # type: ignore[misc]
    """(N·t, …) back to (N, t, …)."""

    def __init__(self, frames: int, **options: Any) -> None:
        super().__init__(**options)
        self.frames = frames

    def call(self, rows: Any) -> Any:
        return ops.reshape(rows, (-1, self.frames, *rows.shape[1:]))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (None, self.frames, *shape[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frames": self.frames}


def per_frame(x: Any, *, frames: int, base: str, layer: str, pooling: str) -> Any:
    """From normalised (N, t, h, w, c) clips to (N, t, d) features, standardised by stored statistics.

    ``base`` is ``resnet50`` (d = 2048), ``vgg16`` (512), both as in ``keras.applications``, or ``small``
    (64: three convolutions of 16, 32 and 64 filters); it ends with ``layer``, by its name, or with its last.
    ``pooling`` is ``avg``, ``max`` or ``avg_max``, which has both (2 d): a small thing in a large picture
    is in the maximum. The statistics of the training features are set by ``set_statistics``.
    """
    encoder = build_encoder(base, tuple(x.shape[2:]), layer, pooling)
    x = encoder(FoldTime(name="fold_time")(x))
    x = UnfoldTime(frames, name=FEATURES)(x)
    return layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-3, trainable=False, name=STATISTICS
    )(x)


def build_encoder(base: str, shape: tuple[int, ...], layer: str, pooling: str) -> Any:
    """The part that sees one frame, with random weights: (N, h, w, c) to (N, d)."""
    if pooling not in POOLINGS:
        raise ValueError(f"no pooling {pooling!r}; there are {', '.join(POOLINGS)}")
    inputs = keras.Input(shape, name="frame")
    if base == "resnet50":
        x = _end(keras.applications.ResNet50(include_top=False, weights=None, input_tensor=inputs), layer)
    elif base == "vgg16":
        x = _end(keras.applications.VGG16(include_top=False, weights=None, input_tensor=inputs), layer)
    elif base == "small":
        x = inputs
        for number, filters in enumerate((16, 32, 64), start=1):
            x = layers.Conv2D(
                filters, 3, strides=2, padding="same", activation="relu", name=f"small_conv{number}"
            )(x)
    else:
        raise ValueError(f"no base {base!r}; there are {', '.join(BASES)}")
    pools = {
        "avg": layers.GlobalAveragePooling2D(name="pool_avg"),
        "max": layers.GlobalMaxPooling2D(name="pool_max"),
    }
    pooled = [pool(x) for name, pool in pools.items() if name in pooling.split("_")]
    output = pooled[0] if len(pooled) == 1 else layers.Concatenate(name="pool")(pooled)
    return keras.Model(inputs, output, name=ENCODER)


def _end(model: Any, layer: str) -> Any:
    """Output of the layer called ``layer``, or of the last one."""
    return model.get_layer(layer).output if layer else model.output


def load_base_weights(network: Any, folder: Path | None = None) -> None:
    """Fill the base of a clip network with ImageNet weights, as ``load_imagenet_weights`` does.

    VGG16 has to be downloaded by Keras. Raises WeightsError where weights are missing, or for a base or
    a network that has none.
    """
    encoder = encoder_of(network)
    names = {layer.name for layer in encoder.layers} if encoder is not None else set()
    if "conv1_conv" in names:
        load_imagenet_weights(encoder, folder)
    elif "block1_conv1" in names:
        if folder is not None:
            raise WeightsError(
                f"{folder} can hold weights for resnet50 alone; Keras downloads those of VGG16"
            )
        source = download("VGG16")
        for layer in encoder.layers:
            if layer.weights:
                layer.set_weights(source.get_layer(layer.name).get_weights())
    else:
        raise WeightsError(
            f"{network.name} has no base for which there are ImageNet weights; train it with --weights none"
        )


def fill_base(artifact: Any, network: Any) -> None:
    """Give the base of a clip network the weights that it has in a stored model, such as ``sports``.

    Raises WeightsError where that has no such base.
    """
    encoder = encoder_of(network)
    if encoder is None:
        raise WeightsError(f"{network.name} has no base that could start from another model")
    arrays = artifact.weights()
    for variable in encoder.weights:
        array = arrays.get(variable.path)
        if array is None or array.shape != tuple(variable.shape):
            raise WeightsError(f"{artifact.name} has no {variable.path} of shape {tuple(variable.shape)}")
        variable.assign(array.astype("float32"))


def encoder_of(network: Any) -> Any:
    """The nested model that sees single frames, or None where a clip network cannot be cut."""
    return next((layer for layer in network.layers if layer.name == ENCODER), None)


def set_statistics(network: Any, features: Any) -> None:
    """Standardise by mean and variance of (…, d) training features: every feature counts alike."""
    rows = features.reshape(-1, features.shape[-1]).astype("float64")
    layer = network.get_layer(STATISTICS)
    layer.moving_mean.assign(rows.mean(axis=0).astype("float32"))
    layer.moving_variance.assign(rows.var(axis=0).astype("float32"))


@dataclass(frozen=True, slots=True)
class ClipParts:
    """A clip network cut in two Keras models.

    ``encode`` maps (N, h, w, 3) frames to (N, d) features, ``decide`` (N, frames, d) features to logits.
    Without ``encode`` the network cannot be cut, and ``decide`` takes (N, frames, h, w, 3).
    """

    frames: int
    encode: Any | None
    decide: Any


def cut(network: Any, preprocessing: Preprocessing) -> ClipParts:
    """Cut a clip network behind its encoder; the parts share its weights."""
    frames = int(network.input_shape[1])
    encoder = encoder_of(network)
    if encoder is None:
        return ClipParts(frames, None, network)
    image = keras.Input(network.input_shape[2:], name="frame")
    encode = keras.Model(image, encoder(normalise(image, preprocessing)))
    return ClipParts(frames, encode, head_of(network))


def head_of(network: Any) -> Any:
    """What comes after the features, as a model from (N, t, d) to logits that shares the layers."""
    last = network.get_layer(FEATURES)
    inputs = x = keras.Input(last.output.shape[1:], name=FEATURES)
    for layer in network.layers[network.layers.index(last) + 1 :]:
        x = layer(x)
    return keras.Model(inputs, x)
