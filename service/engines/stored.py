"""A stored model by name, for processes that open an engine of their own."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Self

from models.artifact import Artifact, load_artifact
from models.preprocessing import Preprocessing
from models.prototypes import Reference
from models.references import load_reference, network_of
from service.engines import Engine, choose_engine, open_engine
from service.engines.devices import has_gpu
from service.errors import ConfigurationError
from service.types import Classifier, Image
from service.windows import WindowedClassifier


def open_model(artifact: Artifact, engine: Engine, *, batch_size: int, buckets: bool = False) -> Classifier:
    """The engine of a stored model; one that judges clips comes as the classifier of one stream.

    Raises ``ConfigurationError`` for an engine that is not there, or that cannot run the model.
    """
    if not artifact.judges_clips:
        return open_engine(artifact, engine, batch_size=batch_size, buckets=buckets)
    settle_engine(artifact, engine)
    from service.engines.keras_clips import KerasClipEngine

    clips = KerasClipEngine(artifact, batch_size=batch_size, buckets=buckets)
    clips.warm_up()
    return WindowedClassifier(clips)


def settle_engine(artifact: Artifact, engine: Engine) -> Engine:
    """As ``choose_engine``, with a word in the log on what is slow; models that judge clips have one engine.

    Raises ``ConfigurationError`` for another one.
    """
    if not artifact.judges_clips:
        return choose_engine(artifact, engine, level=logging.WARNING)
    if engine is Engine.OPENVINO:
        raise ConfigurationError(
            f"{artifact.name} judges clips, which engine 'openvino' does not run yet; use 'tensorflow'"
        )
    return Engine.TENSORFLOW


@dataclass(frozen=True, slots=True)
class StoredModel:
    """Knows the model's card; loads the model itself only where ``open`` is called. Picklable."""

    model: str
    engine: Engine
    name: str
    network: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing

    @classmethod
    def find(cls, model: str, engine: Engine) -> Self:
        """``engine`` is settled here, where its choice can be told, and before any process is started; except
        that ``auto`` stays so where there seems to be a GPU: that TensorFlow finds it, ``open`` sees.

        Raises ``ModelError`` for a model that is not there or is damaged, ``ConfigurationError`` for an
        engine that cannot run it.
        """
        artifact = load_artifact(model)
        chosen = settle_engine(artifact, engine)
        if chosen is Engine.TENSORFLOW and has_gpu() and not artifact.judges_clips:
            chosen = engine
        return cls._of(artifact, model, chosen)

    @classmethod
    def read(cls, model: str, engine: Engine) -> Self:
        """As ``find``, with ``engine`` settled when the model is opened, without a word."""
        artifact = load_artifact(model)
        return cls._of(artifact, model, engine)

    @classmethod
    def _of(cls, artifact: Artifact, model: str, engine: Engine) -> Self:
        name = f"{artifact.name} {artifact.version}"
        network = f"{name} {network_of(artifact)[:8]}"
        return cls(model, engine, name, network, tuple(artifact.labels), artifact.preprocessing)

    @property
    def views(self) -> int:
        return len(self.preprocessing.views)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self.preprocessing.model_input(image, view)

    def reference(self) -> Reference | None:
        """What images of the model's labels look like to its network, if that was noted."""
        return load_reference(load_artifact(self.model))

    def open(self, batch_size: int) -> Classifier:
        return open_model(load_artifact(self.model), self.engine, batch_size=batch_size, buckets=True)
