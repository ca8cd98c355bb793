"""From examples to a learned label: are they enough, do they differ, does the model know them already?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.counted import counted
from models.opinion_pool import log_opinion_pool
from service.config import RunSettings
from service.errors import LabelExistsError, LearningError
from service.learning.engine import LearnedModel
from service.learning.examples import FEWEST, MOST, Example, read_jpeg
from service.learning.store import LabelState, LabelStore, LearnedLabel
from service.types import BACKGROUND, Classifier, Embedder, Image, Preprocessor

Floats = npt.NDArray[np.float32]
Embed = Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]

NAME: Final = re.compile(r"\w[\w .+-]{0,63}")
ALIKE: Final = 0.97
"""Cosine of two examples that tell a network next to nothing beyond one of them."""
SURE: Final = RunSettings().enter
"""Probability from which on the model would start an event by a label that it knows."""
BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class Lesson:
    """Examples with what the network says of them; ``known`` is (n, classes), ``features`` (n, width)."""

    examples: tuple[Example, ...]
    known: Floats
    features: Floats
    warnings: tuple[str, ...]


def check_name(name: str, taken: Sequence[str]) -> None:
    """Raises LearningError for a name that cannot be, LabelExistsError for one that is taken."""
    if not NAME.fullmatch(name) or name != name.strip():
        raise LearningError(
            "a label has 1 to 64 letters, digits, spaces or any of _ . + -, and begins with a letter; "
            f"got {name!r}"
        )
    if name in taken or name == BACKGROUND:
        raise LabelExistsError(
            f"the model has a label {name!r} already; choose another name, or remove it if it was learned"
        )


def check_count(count: int, force: bool) -> None:
    """Raises LearningError for too few examples, unless forced, or too many."""
    if not count:
        raise LearningError("there is not one example image")
    if count < FEWEST and not force:
        raise LearningError(
            f"{counted(count, 'example')}, fewer than the {FEWEST} that a label should have; "
            "give more, or insist by force"
        )
    if count > MOST:
        raise LearningError(f"{count} examples are more than the {MOST} that a label is learned from")


def study(
    examples: Sequence[Example],
    labels: Sequence[str],
    preprocessor: Preprocessor,
    embed: Embed,
) -> Lesson:
    """Show the examples to the network, whose own ``labels`` name its probabilities."""
    known, features = embed_all([example.image() for example in examples], preprocessor, embed)
    return Lesson(tuple(examples), known, features, _warnings(examples, labels, known, features))


def learn(lesson: Lesson, name: str, state: LabelState, model: str, store: LabelStore) -> LearnedLabel:
    """Store what was studied. Raises LabelExistsError, LearningError, StorageError."""
    images = [example.jpeg for example in lesson.examples]
    return store.add(name, state, model, images, lesson.features, lesson.warnings)


def embed_files(paths: Sequence[Path], preprocessor: Preprocessor, embed: Embed) -> Floats:
    """Features of stored examples, (n, width), for ``LabelStore.renew``."""
    try:
        images = [read_jpeg(path.read_bytes()) for path in paths]
    except OSError as error:
        raise LearningError(f"a stored example cannot be read: {error}") from error
    return embed_all(images, preprocessor, embed)[1]


def up_to_date(model: LearnedModel, classifier: Classifier) -> Classifier:
    """A classifier of ``model`` with what was learned, which is embedded anew where need be.

    Raises LearningError for a model that gives no features or has no reference, StorageError.
    """
    if not isinstance(classifier, Embedder):
        raise LearningError(f"model {model.name} judges clips, not single frames: it cannot learn labels")
    model.check_reference()
    embedder = classifier
    model.store.renew(model.network, lambda paths: embed_files(paths, embedder, embedder.embed))
    return model.teach(classifier)


def embed_all(images: Sequence[Image], preprocessor: Preprocessor, embed: Embed) -> tuple[Floats, Floats]:
    """(N, classes) probabilities and (N, width) features of N images, of all views as one."""
    parts = []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        inputs = (
            np.stack([preprocessor.model_input(each, view) for each in part])
            for view in range(preprocessor.views)
        )
        known, features = (np.stack(rows) for rows in zip(*map(embed, inputs), strict=True))
        parts.append((log_opinion_pool(known), features.mean(axis=0)))
    known, features = (np.concatenate(part) for part in zip(*parts, strict=True))
    return known, features


def _warnings(
    examples: Sequence[Example], labels: Sequence[str], known: Floats, features: Floats
) -> tuple[str, ...]:
    warnings = []
    lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    similarities = (features / lengths) @ (features / lengths).T
    twins = [pair for pair in itertools.combinations(range(len(examples)), 2) if similarities[pair] > ALIKE]
    alike = {second for _, second in twins}
    if alike and len(examples) - len(alike) < max(FEWEST, len(examples) // 2):
        warnings.append(
            f"{len(alike)} of {len(examples)} examples are nearly the same as another one "
            f"(cosine above {ALIKE}); pictures that differ teach more"
        )
    for place, label in enumerate(labels):
        sure = known[:, place] >= SURE
        if label != BACKGROUND and sure.sum() * 3 >= len(examples):
            warnings.append(
                f"the model calls {int(sure.sum())} of {len(examples)} examples {label!r} "
                f"(mean {float(known[sure, place].mean()):.0%}); the two labels will compete"
            )
    return tuple(warnings)
