"""What runs the network: one engine per file, each a ``types.Classifier``.

``keras`` is the reference; a faster one for CPUs will stand beside it as ``openvino``. Engines are
imported when they are opened, since each of them takes seconds to load.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.engines.keras import KerasArtifact, KerasClassifier


class Engine(StrEnum):
    AUTO = "auto"
    TENSORFLOW = "tensorflow"
    OPENVINO = "openvino"


def open_engine(
    artifact: KerasArtifact, engine: Engine = Engine.AUTO, *, batch_size: int = 8, buckets: bool = False
) -> KerasClassifier:
    """Load a stored model into an engine and warm it up; for ``buckets`` see ``KerasClassifier``.

    Raises ``ConfigurationError`` for an engine that is not there.
    """
    if engine is Engine.OPENVINO:
        raise ConfigurationError("engine 'openvino' comes with a later release; use 'auto' or 'tensorflow'")
    from service.engines.keras import KerasClassifier

    classifier = KerasClassifier(artifact, batch_size=batch_size, buckets=buckets)
    classifier.warm_up()
    return classifier
