"""A network that answers with learned labels too, and takes in what has changed about them while it runs."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from models.prototypes import Prototypes, Reference, alone, joined
from service.errors import LearningError, StorageError
from service.learning.store import MOST_LABELS, Catalogue, LabelState, LabelStore
from service.types import Classifier, Embedder, Image, Judgement, ServedModel
from service.windows import WindowedClassifier, lanes_of

Floats = npt.NDArray[np.float32]

AGAIN: Final = 5.0
"""Seconds until features that could not be read are tried again."""

logger = logging.getLogger(__name__)


class LearnedEngine:
    """A ``LearningEngine``: an embedder and the labels of ``store`` that were learned with ``model``.

    Labels whose features are of another version wait until these have been renewed.
    """

    frames = 1

    def __init__(self, embedder: Embedder, store: LabelStore, model: str, reference: Reference) -> None:
        self._embedder = embedder
        self._store = store
        self._model = model
        self.reference = reference
        self._catalogue: Catalogue | None = None
        self._again_at = math.inf
        self._left_out: dict[str, str] = {}
        self.classes = tuple(embedder.labels)
        self.columns = len(self.classes) + MOST_LABELS
        self.width = len(reference.centre)
        self._served = self._shadows = Prototypes.fit({}, reference)
        self.refresh()

    @property
    def labels(self) -> tuple[str, ...]:
        return self.classes + self._served.labels

    @property
    def shadows(self) -> tuple[str, ...]:
        return self._shadows.labels

    @property
    def views(self) -> int:
        return self._embedder.views

    @property
    def lanes(self) -> int:
        return lanes_of(self._embedder)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._embedder.model_input(image, view)

    def encode(self, inputs: npt.NDArray[np.uint8]) -> Floats:
        """(N, classes + width): the network's own probabilities, then its features."""
        return np.concatenate(self._embedder.embed(inputs), axis=1)

    def decide(self, windows: npt.NDArray[np.float32]) -> Floats:
        """(N, labels + shadows) for (N, 1, classes + width)."""
        judgement = self.judge(windows[:, 0])
        return np.concatenate([judgement.probabilities, judgement.shadow_probabilities], axis=1)

    def judge(self, rows: Floats) -> Judgement:
        """What is said of (N, classes + width) rows of ``encode``."""
        known, features = rows[:, : len(self.classes)], rows[:, len(self.classes) :]
        served = self._served.logits(features)
        shadows = alone(self._shadows.logits(features), served)
        probabilities = joined(known, served) if self._served.labels else known
        return Judgement(self.labels, probabilities, self.shadows, shadows)

    def refresh(self) -> bool:
        """Look whether the index has changed. While it cannot be read, all stays as it was.

        A label whose features cannot be read is left out until they can.
        """
        catalogue, now = self._store.newest(), time.monotonic()
        if catalogue is self._catalogue and now < self._again_at:
            return False
        before = self.labels, self.shadows
        self._catalogue = catalogue
        told, self._left_out = self._left_out, {}
        self._served = self._fit(catalogue, LabelState.SERVED)
        self._shadows = self._fit(catalogue, LabelState.SHADOW)
        for name, reason in self._left_out.items():
            if told.get(name) != reason:
                logger.error("learned label %s is left out: %s", name, reason)
        self._again_at = now + AGAIN if self._left_out else math.inf
        return (self.labels, self.shadows) != before

    def _fit(self, catalogue: Catalogue, state: LabelState) -> Prototypes:
        examples = {}
        for label in catalogue.of_state(state):
            if label.model != self._model or label.name in self.classes:
                continue
            try:
                features = self._store.features(label)
            except StorageError as error:
                self._left_out[label.name] = str(error)
                continue
            if features.shape[1] != self.width:
                self._left_out[label.name] = "it has features of another network"
                continue
            examples[label.name] = features
        return Prototypes.fit(examples, self.reference)


class LearnedClassifier(WindowedClassifier):
    """A ``LearnedEngine`` in this process; its labels stay as they were when it was opened."""

    def __init__(self, engine: LearnedEngine, embedder: Embedder) -> None:
        super().__init__(engine)
        self._engine = engine
        self._embedder = embedder
        self.lanes = engine.lanes

    def classify(self, inputs: npt.NDArray[np.uint8]) -> Floats:
        return self._engine.judge(self._engine.encode(inputs)).probabilities

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Probabilities of the network's own labels, and its features."""
        return self._embedder.embed(inputs)

    @property
    def reference(self) -> Reference:
        return self._engine.reference


@runtime_checkable
class Referenced(Protocol):
    """A model that ships with statistics of its known labels."""

    @property
    def network(self) -> str:
        """Name, version and what tells its weights from all others."""
        ...

    def reference(self) -> Reference | None: ...


@dataclass(frozen=True, slots=True)
class LearnedModel:
    """Another model and what it has learned, below ``folder``. Picklable."""

    base: ServedModel
    folder: Path
    _store: LabelStore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_store", LabelStore(self.folder, self.short_name))

    @property
    def name(self) -> str:
        """Name and version of the network; it does not change with what is learned."""
        return self.base.name

    @property
    def network(self) -> str:
        """What stored features are of: two trainings may have one name and version."""
        return self.base.network if isinstance(self.base, Referenced) else self.name

    @property
    def short_name(self) -> str:
        return self.base.name.rpartition(" ")[0] or self.base.name

    @property
    def store(self) -> LabelStore:
        return self._store

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that the network was trained for."""
        return self.base.labels

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels as of now, or as of when what was learned could last be read."""
        served = self._store.newest().of_state(LabelState.SERVED)
        own = self.base.labels
        return own + tuple(one.name for one in served if one.model == self.network and one.name not in own)

    @property
    def reference(self) -> Reference | None:
        return self.base.reference() if isinstance(self.base, Referenced) else None

    def check_reference(self) -> None:
        """Raises LearningError for a model that cannot learn.

        With nothing to compare with, a new label would be seen everywhere.
        """
        if self.reference is None:
            raise LearningError(
                f"model {self.name} has no reference of its known labels, without which it cannot learn; "
                "make it from the training images: video-events models reference DATA --model MODEL "
                "(a model that judges clips cannot have one)"
            )

    @property
    def views(self) -> int:
        return self.base.views

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self.base.model_input(image, view)

    def open(self, batch_size: int) -> Classifier:
        """Load the network. One that gives no features, as of clip models, cannot learn: it is as it is."""
        return self.teach(self.base.open(batch_size))

    def teach(self, classifier: Classifier) -> Classifier:
        """A classifier of this model, with what was learned where the model can learn."""
        reference = self.reference
        if reference is None or not isinstance(classifier, Embedder):
            return classifier
        engine = LearnedEngine(classifier, self._store, self.network, reference)
        return LearnedClassifier(engine, classifier)
