"""A triplet network: an image is nearer to those of its label than to others, by a margin.

Schroff, Kalenichenko, Philbin: FaceNet, CVPR 2015 (arXiv:1503.03832), with semi-hard negatives.
"""

from __future__ import annotations

from models.architectures.architecture import Architecture, Kind
from models.architectures.embedding import PREPROCESSING, network
from models.metric_learning import semi_hard_triplet_loss
from models.settings import from_scratch

ARCHITECTURE = Architecture(
    name="triplet",
    kind=Kind.FRAME,
    paper="Schroff et al., 2015",
    network=network,
    preprocessing=PREPROCESSING,
    settings=from_scratch(architecture="triplet", preprocessing=PREPROCESSING, batch_size=64),
    embedding_loss=semi_hard_triplet_loss,
)
