"""Any base of ``keras.applications`` with a small dense head: ``imagenet:<Name>``.

Which paper each base comes from is told by https://keras.io/api/applications.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from models.architectures.architecture import Architecture, Kind
from models.architectures.dense_head import dense_head, pooled
from models.architectures.normalisation import finalize_normalization
from models.errors import ModelError, WeightsError
from models.imagenet import download
from models.preprocessing import Preprocessing
from models.settings import TrainingSettings

CAFFE = Preprocessing()
TORCH = Preprocessing(
    channels="rgb",
    mean=(123.675, 116.28, 103.53),
    scale=(1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
)
ONE = Preprocessing(channels="rgb", mean=(127.5, 127.5, 127.5), scale=1 / 127.5)
OWN = Preprocessing(channels="rgb", mean=(0.0, 0.0, 0.0))
"""For bases that bring layers of their own for it."""

BASE = "base"
STDDEV = (0.229, 0.224, 0.225)
"""Of ImageNet's channels, in RGB and in units of 255."""

FAMILIES = {
    "ConvNeXt": (OWN, 224),
    "DenseNet": (TORCH, 224),
    "EfficientNet": (OWN, 224),
    "Inception": (ONE, 299),
    "MobileNet": (ONE, 224),
    "MobileNetV3": (OWN, 224),
    "NASNetLarge": (ONE, 331),
    "NASNetMobile": (ONE, 224),
    "ResNet": (CAFFE, 224),
    "VGG": (CAFFE, 224),
    "Xception": (ONE, 299),
}
"""What each family was trained on, by the longest beginning of the name, and the side of its images."""


def names() -> tuple[str, ...]:
    """The bases that this version of Keras has."""
    return tuple(sorted(name for name in dir(keras.applications) if name[0].isupper()))


def preprocessing_of(base: str) -> Preprocessing:
    """What ImageNet's weights of ``base`` expect of an image."""
    if base.startswith("ResNet") and base.endswith("V2"):
        return ONE
    family = max((name for name in FAMILIES if base.startswith(name)), key=len)
    kind, side = FAMILIES[family]
    return Preprocessing(height=side, width=side, channels=kind.channels, mean=kind.mean, scale=kind.scale)


def named(base: Any, *, divides_again: bool = False) -> Any:
    """A copy of ``base`` whose layers have names that hang on their places alone.

    Keras counts through the layers of some bases in the order in which a process made them, and stored
    weights are found by name. ``divides_again`` is for EfficientNet: its ImageNet weights were trained on
    what its Normalization gives divided by the root of the deviation, which Keras leaves out of a base
    that it builds without them.
    """
    places = {layer.name: place for place, layer in enumerate(base.layers)}

    def copied(layer: Any) -> Any:
        if layer.name not in places:  # an operation without weights, such as the sum of two outputs
            return layer
        config = layer.get_config()
        config["name"] = f"base{places[layer.name]:03}_{type(layer).__name__.lower()}"
        return type(layer).from_config(config)

    def called(layer: Any, *arguments: Any, **options: Any) -> Any:
        result = layer(*arguments, **options)
        if divides_again and isinstance(layer, keras.layers.Normalization):
            scale = [1 / math.sqrt(stddev) for stddev in STDDEV]
            return keras.layers.Rescaling(scale, name="base_divided_again")(result)
        return result

    copy = keras.models.clone_model(base, clone_function=copied, call_function=called)
    return keras.Model(copy.inputs, copy.outputs[0], name=BASE)


def fill(base: str, network: Any, folder: Path | None = None) -> None:
    """Give the base of ``network`` ImageNet's weights, which Keras downloads; raises WeightsError."""
    if folder is not None:
        raise WeightsError(f"{folder} can hold weights for resnet50 alone; Keras downloads those of {base}")
    network.get_layer(BASE).set_weights(download(base).get_weights())
    finalize_normalization(network)


def architecture(base: str) -> Architecture:
    """``base`` as an architecture; raises ModelError for a name that Keras does not have."""
    if base not in names():
        raise ModelError(f"no base {base!r} in keras.applications; there are {', '.join(names())}")

    def network(
        x: Any, classes: int, *, pooling: str = "avg", dense: Sequence[int] = (256,), dropout: float = 0.5
    ) -> Any:
        layer = named(
            getattr(keras.applications, base)(include_top=False, weights=None, input_shape=x.shape[1:]),
            divides_again=base.startswith("EfficientNetB"),
        )
        return dense_head(pooled(layer(x), pooling), classes, dense, dropout)

    name, preprocessing = f"imagenet:{base}", preprocessing_of(base)
    return Architecture(
        name=name,
        kind=Kind.FRAME,
        paper="see https://keras.io/api/applications",
        network=network,
        preprocessing=preprocessing,
        settings=TrainingSettings(
            architecture=name, preprocessing=preprocessing, train_size=0, unfreeze="", refit_epochs=0
        ),
        stages={"all": BASE},
        load_weights=partial(fill, base),
    )
