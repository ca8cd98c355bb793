"""A siamese network: an embedding in which images of one label are near each other.

Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006; for one-shot
recognition: Koch, Zemel, Salakhutdinov: Siamese Neural Networks for One-shot Image Recognition, 2015.
"""

from __future__ import annotations

from models.architectures.architecture import Architecture, Kind
from models.architectures.embedding import PREPROCESSING, network
from models.metric_learning import contrastive_loss
from models.settings import from_scratch

ARCHITECTURE = Architecture(
    name="siamese",
    kind=Kind.FRAME,
    paper="Hadsell et al., 2006; Koch et al., 2015",
    network=network,
    preprocessing=PREPROCESSING,
    settings=from_scratch(architecture="siamese", preprocessing=PREPROCESSING, batch_size=64),
    embedding_loss=contrastive_loss,
)
