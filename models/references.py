"""The reference that ships beside a model's weights: see ``models.prototypes.Reference``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.artifact import CARD, WEIGHTS, Artifact
from models.datasets import Sample, read_image
from models.errors import ModelError
from models.prototypes import Floats, Reference

REFERENCE: Final = "reference.npz"
PER_LABEL: Final = 200
"""Images of a label that are enough."""

Embed = Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]

logger = logging.getLogger(__name__)


def load_reference(artifact: Artifact) -> Reference | None:
    """The reference of a model, or None where none belongs to these weights."""
    path = artifact.folder / REFERENCE
    if not path.is_file():
        return None
    try:
        return Reference.load(path, network_of(artifact))
    except ModelError as error:
        logger.warning("%s", error)
        return None


def make_reference(
    artifact: Artifact,
    samples: Sequence[Sample],
    embed: Embed,
    *,
    seed: int = 1,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write the reference of a model from its training images, up to 200 of every label.

    They are seen in each view in turn, as frames are. ``embed`` is as of ``service.types.Embedder``.

    Raises ModelError where a label has no image.
    """
    chosen = chosen_samples(samples, artifact.labels, seed)
    features = []
    for start in range(0, len(chosen), batch_size):
        part = chosen[start : start + batch_size]
        images = [read_image(sample.path) for sample in part]
        inputs = [artifact.preprocessing.model_input(image, view) for view, image in enumerate(images, start)]
        features.append(embed(np.stack(inputs))[1])
        progress(start + len(part))
    truth = np.array([artifact.labels.index(sample.label) for sample in chosen], np.int64)
    if not chosen:
        raise ModelError("a reference needs images of every label; there is none at all")
    path = artifact.folder / REFERENCE
    Reference.of(np.concatenate(features), truth, artifact.labels).save(path, network_of(artifact))
    return path


def chosen_samples(samples: Sequence[Sample], labels: Sequence[str], seed: int) -> list[Sample]:
    """Up to 200 samples of every label, the same ones for the same ``seed``."""
    chosen = []
    for label in labels:
        rows = [sample for sample in samples if sample.label == label]
        order = np.random.default_rng([seed, *label.encode()]).permutation(len(rows))
        chosen += [rows[i] for i in order[:PER_LABEL]]
    return chosen


def network_of(artifact: Artifact) -> str:
    """What tells these weights from all others: their SHA-256."""
    card = json.loads((artifact.folder / CARD).read_text())
    return str(card["files"][WEIGHTS])
