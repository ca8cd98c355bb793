"""LRCN: a convolutional network sees each frame, a recurrent one what follows from frame to frame.

Donahue et al.: Long-term Recurrent Convolutional Networks for Visual Recognition and Description, CVPR 2015
(arXiv:1411.4389). In place of its LSTM there can be a GRU, a simple recurrent layer or a 1-D convolution.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from models.architectures.architecture import Architecture, Kind
from models.architectures.clips import load_base_weights, per_frame
from models.preprocessing import Preprocessing
from models.settings import TrainingSettings

SEQUENCES = ("lstm", "gru", "simple_rnn", "conv1d")


def network(
    x: Any,
    classes: int,
    *,
    frames: int = 20,
    base: str = "resnet50",
    layer: str = "",
    pooling: str = "avg",
    sequence: str = "lstm",
    units: int = 64,
    stacked: int = 1,
    kernel: int = 3,
    dropout: float = 0.5,
) -> Any:
    """From normalised (N, t, h, w, c) clips to logits.

    ``stacked`` (1 to 3) layers of ``sequence`` (``lstm``, ``gru``, ``simple_rnn``, or ``conv1d`` of
    ``kernel`` frames) with ``units`` each see the features of ``frames`` frames; the last state, or the
    mean of the last convolution, goes through dropout into a linear layer.
    """
    if sequence not in SEQUENCES:
        raise ValueError(f"no sequence model {sequence!r}; there are {', '.join(SEQUENCES)}")
    if not 1 <= stacked <= 3:
        raise ValueError(f"1 to 3 sequence layers can be stacked, not {stacked}")
    x = per_frame(x, frames=frames, base=base, layer=layer, pooling=pooling)
    x = layers.Dropout(dropout, name="head_dropout_features")(x)
    for number in range(1, stacked + 1):
        x = _layer(sequence, units, kernel, is_last=number == stacked, name=f"head_{sequence}{number}")(x)
    if sequence == "conv1d":
        x = layers.GlobalAveragePooling1D(name="head_pool")(x)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="head_logits")(x)


def _layer(sequence: str, units: int, kernel: int, *, is_last: bool, name: str) -> Any:
    if sequence == "conv1d":
        return layers.Conv1D(units, kernel, padding="same", activation="relu", name=name)
    kind = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}[sequence]
    return kind(units, return_sequences=not is_last, name=name)


ARCHITECTURE = Architecture(
    name="lrcn",
    kind=Kind.CLIP,
    paper="Donahue et al.: Long-term Recurrent Convolutional Networks, CVPR 2015, arXiv:1411.4389",
    network=network,
    preprocessing=Preprocessing(),
    settings=TrainingSettings(
        architecture="lrcn",
        preset="clips",
        train_size=0,
        augmentation="clip",
        head_views=4,
        head_epochs=30,
        unfreeze="",
        epochs=0,
        patience=8,
        refit_epochs=0,
    ),
    stages={"base": "encoder"},
    load_weights=load_base_weights,
)
