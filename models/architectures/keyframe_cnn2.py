"""Two convolution blocks for grey pictures that all look alike, such as key frames of one kind of video.

LeCun et al.: Gradient-Based Learning Applied to Document Recognition, 1998; see ``keyframe``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.architectures.architecture import Architecture, Kind
from models.architectures.keyframe import PREPROCESSING, blocks
from models.settings import from_scratch


def network(
    x: Any,
    classes: int,
    *,
    filters: Sequence[int] = (8, 16),
    pool: int = 4,
    dense: int = 64,
    dropout: float = 0.1,
) -> Any:
    """Two blocks of convolution, ReLU, max-pooling and dropout, one dense layer, a linear layer."""
    return blocks(x, classes, filters, pool, dense, dropout)


ARCHITECTURE = Architecture(
    name="keyframe_cnn2",
    kind=Kind.FRAME,
    paper="after LeCun et al.: Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 1998",
    network=network,
    preprocessing=PREPROCESSING,
    settings=from_scratch(architecture="keyframe_cnn2", preprocessing=PREPROCESSING),
)
