"""What runs the network: one engine per file, each a ``types.Embedder``.

``keras`` is the reference and the engine for GPUs, ``openvino`` the one for CPUs. Engines are imported when
they are opened, since TensorFlow takes seconds to load; where OpenVINO serves it is not loaded at all.
``restricted`` knows fewer labels than the engine that it wraps; ``delegating`` is the base of such wrappers.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from service.engines.devices import has_gpu
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.engines.keras import KerasArtifact
    from service.engines.openvino import OpenvinoArtifact
    from service.types import Embedder

    class StoredNetwork(KerasArtifact, OpenvinoArtifact, Protocol):
        """A stored model that any engine can run (``models.artifact.Artifact``)."""


NO_GPU: Final = (
    "there is an NVIDIA GPU, but TensorFlow finds none: pip install 'tensorflow[and-cuda]' (the extra 'gpu') "
    "brings the CUDA libraries that it was made for; see too that the driver is not too old for them"
)

log = logging.getLogger(__name__)


class Engine(StrEnum):
    AUTO = "auto"
    TENSORFLOW = "tensorflow"
    OPENVINO = "openvino"


def open_engine(
    artifact: StoredNetwork, engine: Engine = Engine.AUTO, *, batch_size: int = 8, buckets: bool = False
) -> Embedder:
    """Load a stored model into an engine and warm it up.

    ``batch_size`` is how many frames come together at most. ``buckets`` is for callers that often have
    fewer: see ``KerasClassifier``; OpenVINO needs no telling. Raises ``ConfigurationError`` for an engine
    that is not there, or that the model has no network for.
    """
    chosen = choose_engine(artifact, engine)
    if chosen is Engine.TENSORFLOW and engine is Engine.AUTO and has_gpu() and not _tensorflow_finds_gpu():
        log.warning("%s", NO_GPU)
        chosen = _choose_on_cpu(artifact, engine, logging.WARNING)
    if chosen is Engine.OPENVINO:
        from service.engines.openvino import OpenvinoClassifier

        on_cpu = OpenvinoClassifier(artifact, batch_size=batch_size)
        on_cpu.warm_up()
        return on_cpu
    from service.engines.keras import KerasClassifier

    reference = KerasClassifier(artifact, batch_size=batch_size, buckets=buckets)
    reference.warm_up()
    return reference


def choose_engine(
    artifact: OpenvinoArtifact, engine: Engine = Engine.AUTO, *, level: int = logging.INFO
) -> Engine:
    """What ``auto`` stands for: TensorFlow where there seems to be a GPU, else OpenVINO where the model has
    been exported for it, else TensorFlow; the last is noted in the log, at ``level``. Whether TensorFlow
    finds that GPU is seen when the engine is opened.

    Raises ``ConfigurationError`` where OpenVINO is asked for by name and cannot run the model.
    """
    if engine is Engine.TENSORFLOW or (engine is Engine.AUTO and has_gpu()):
        return Engine.TENSORFLOW
    return _choose_on_cpu(artifact, engine, level)


def _choose_on_cpu(artifact: OpenvinoArtifact, engine: Engine, level: int) -> Engine:
    reason = None
    if find_spec("openvino") is None:
        reason = "OpenVINO is not installed: pip install openvino"
    elif artifact.openvino_network is None:
        reason = "the model holds no network for OpenVINO: 'video-events export' makes it"
    if reason is None:
        return Engine.OPENVINO
    if engine is Engine.OPENVINO:
        raise ConfigurationError(f"engine 'openvino' cannot run this model: {reason}")
    log.log(level, "TensorFlow runs the network on the CPU, which is slow: %s", reason)
    return Engine.TENSORFLOW


def _tensorflow_finds_gpu() -> bool:
    from service.engines.compiled import finds_gpu

    return finds_gpu()
