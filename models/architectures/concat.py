"""Frame concatenation: the features of all frames of a window side by side, then dense layers.

The baseline that "late fusion" names in Karpathy et al.: Large-scale Video Classification with Convolutional
Neural Networks, CVPR 2014, taken to every frame of a window.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import layers

from models.architectures.architecture import Architecture, Kind
from models.architectures.clips import load_base_weights, per_frame
from models.architectures.lrcn import ARCHITECTURE as LRCN
from models.preprocessing import Preprocessing


def network(
    x: Any,
    classes: int,
    *,
    frames: int = 20,
    base: str = "resnet50",
    layer: str = "",
    pooling: str = "avg",
    units: int = 64,
    stacked: int = 1,
    dropout: float = 0.5,
) -> Any:
    """From normalised (N, t, h, w, c) clips to logits.

    The features of ``frames`` frames, one after the other, go through ``stacked`` (1 to 3) dense layers
    of ``units`` with ReLU, each behind dropout, into a linear layer.
    """
    if not 1 <= stacked <= 3:
        raise ValueError(f"1 to 3 dense layers can be stacked, not {stacked}")
    x = per_frame(x, frames=frames, base=base, layer=layer, pooling=pooling)
    x = layers.Flatten(name="head_flatten")(x)
    for number in range(1, stacked + 1):
        x = layers.Dropout(dropout, name=f"head_dropout{number}")(x)
        x = layers.Dense(units, activation="relu", name=f"head_dense{number}")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


ARCHITECTURE = Architecture(
    name="concat",
    kind=Kind.CLIP,
    paper="Karpathy et al.: Large-scale Video Classification with CNNs, CVPR 2014 (late fusion)",
    network=network,
    preprocessing=Preprocessing(),
    settings=replace(LRCN.settings, architecture="concat"),
    stages={"base": "encoder"},
    load_weights=load_base_weights,
)
