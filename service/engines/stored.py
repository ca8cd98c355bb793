"""A stored model by name, for processes that open an engine of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from models.artifact import load_artifact
from service.engines import Engine, open_engine
from service.types import Classifier


@dataclass(frozen=True, slots=True)
class StoredModel:
    """Knows the model's card; loads the model itself only where ``open`` is called. Picklable."""

    model: str
    engine: Engine
    name: str
    labels: tuple[str, ...]

    @classmethod
    def find(cls, model: str, engine: Engine) -> Self:
        """Raises ``ModelError`` for a model that is not there or is damaged."""
        artifact = load_artifact(model)
        return cls(model, engine, f"{artifact.name} {artifact.version}", tuple(artifact.labels))

    def open(self, batch_size: int) -> Classifier:
        return open_engine(load_artifact(self.model), self.engine, batch_size=batch_size)
