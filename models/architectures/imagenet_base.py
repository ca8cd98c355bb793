"""Any base of ``keras.applications`` with a small dense head: ``imagenet:<Name>``.

Which paper each base comes from is told by https://keras.io/api/applications.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from models.architectures.architecture import Architecture, Kind
from models.architectures.dense_head import dense_head, pooled
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


def named(base: Any) -> Any:
    """A copy of ``base`` whose layers have names that hang on their places alone.

    Keras counts through the layers of some bases in the order in which a process made them, and stored
    weights are found by name.
    """
    places = {layer.name: place for place, layer in enumerate(base.layers)}

    def copied(layer: Any) -> Any:
        config = layer.get_config()
        config["name"] = f"base{places[layer.name]:03}_{type(layer).__name__.lower()}"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(base, clone_function=copied)
    return keras.Model(copy.inputs, copy.outputs[0], name=BASE)


def fill(base: str, network: Any, folder: Path | None = None) -> None:
    """Give the base of ``network`` ImageNet's weights, which Keras downloads; raises WeightsError."""
    if folder is not None:
        raise WeightsError(f"{folder} can hold weights for resnet50 alone; Keras downloads those of {base}")
    network.get_layer(BASE).set_weights(download(base).get_weights())


def architecture(base: str) -> Architecture:
    """``base`` as an architecture; raises ModelError for a name that Keras does not have."""
    if base not in names():
        raise ModelError(f"no base {base!r} in keras.applications; there are {', '.join(names())}")

    def network(
        x: Any, classes: int, *, pooling: str = "avg", dense: Sequence[int] = (256,), dropout: float = 0.5
    ) -> Any:
        layer = named(
            getattr(keras.applications, base)(include_top=False, weights=None, input_shape=x.shape[1:])
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
