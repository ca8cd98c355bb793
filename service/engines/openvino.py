"""The engine for CPUs: OpenVINO, with the network that ``video-events export`` has put into the artifact."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from models.openvino_library import has_bfloat16, openvino
from service.batching import BATCHES_AT_ONCE
from service.engines.devices import cores
from service.errors import ConfigurationError
from service.types import Image, ImageToInput

REQUESTS_PER_STREAM: Final = 2
"""One runs, one waits, so that no core idles between two frames."""


class OpenvinoArtifact(Protocol):
    """What this engine needs of a stored model (``models.artifact.Artifact``)."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def preprocessing(self) -> ImageToInput: ...

    @property
    def openvino_network(self) -> Path | None:
        """From ``uint8`` (N, h, w, 3) to ``probabilities`` and ``features``, or ``None``."""
        ...


class OpenvinoClassifier:
    """Runs each frame by itself, several at a time: one per core, up to ``batch_size``.

    So a frame's probabilities cannot hang on what came along, and a lone frame does not pay for a batch.
    Where there are more cores than frames in a batch, several cores share a frame.

    For use from any number of threads: ``BATCHES_AT_ONCE`` batches run side by side, ``lanes`` lone frames.

    Raises ``ConfigurationError`` for a model that has not been exported, whose network OpenVINO cannot read,
    or whose labels are not as many as the network's.
    """

    def __init__(
        self, artifact: OpenvinoArtifact, network: Path | None = None, *, batch_size: int = 8
    ) -> None:
        """``network`` is the exported network to run, by default the one that serves."""
        path = network or artifact.openvino_network
        if path is None:
            raise ConfigurationError(
                "the model holds no network for OpenVINO: 'video-events export' makes it"
            )
        self._preprocessing = artifact.preprocessing
        self._labels = tuple(artifact.labels)
        self._batch_size = batch_size
        threads = cores()
        streams = max(1, min(threads, batch_size))
        try:
            core = openvino.Core()
            graph = core.read_model(path)
            graph.reshape([1, *(side.get_length() for side in list(graph.inputs[0].partial_shape)[1:])])
            settings = _settings(threads, streams) | {"INFERENCE_PRECISION_HINT": precision_of(graph, core)}
            compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise ConfigurationError(f"OpenVINO cannot read {path}: {error}") from error
        self._input_shape = tuple(int(side) for side in compiled.input(0).shape)
        self._widths = [int(compiled.output(name).shape[-1]) for name in ("probabilities", "features")]
        if self._widths[0] != len(self._labels):
            raise ConfigurationError(
                f"{path} tells {self._widths[0]} labels apart, the model's card names {len(self._labels)}"
            )
        self._queues: SimpleQueue[Any] = SimpleQueue()
        for _ in range(BATCHES_AT_ONCE):
            queue = openvino.AsyncInferQueue(compiled, REQUESTS_PER_STREAM * streams)
            queue.set_callback(_take)
            self._queues.put(queue)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            self._idle.put(compiled.create_infer_request())
        self.lanes = streams

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @property
    def frames(self) -> int:
        return 1

    @property
    def views(self) -> int:
        return len(self._preprocessing.views)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._preprocessing.model_input(image, view)

    def warm_up(self) -> None:
        """Run every request once, so that the first frame does not pay for what is set up lazily."""
        for _ in range(BATCHES_AT_ONCE):  # they take turns
            self.classify(np.zeros((REQUESTS_PER_STREAM * self.lanes, *self._input_shape[1:]), np.uint8))

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        probabilities = np.empty((len(inputs), self._widths[0]), np.float32)
        self._run(inputs, {"probabilities": probabilities})
        return np.clip(probabilities, 0.0, 1.0, out=probabilities)

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        probabilities, features = (np.empty((len(inputs), width), np.float32) for width in self._widths)
        self._run(inputs, {"probabilities": probabilities, "features": features})
        return np.clip(probabilities, 0.0, 1.0, out=probabilities), features

    def reset(self) -> None:
        """Nothing to forget: every input is judged alone."""

    def _run(self, inputs: npt.NDArray[np.uint8], results: dict[str, npt.NDArray[np.float32]]) -> None:
        inputs = np.ascontiguousarray(inputs)
        if len(inputs) == 1:
            self._run_one(inputs, results)
            return
        queue = self._queues.get()
        try:
            for row in range(len(inputs)):
                rows = {name: array[row] for name, array in results.items()}
                queue.start_async(inputs[row : row + 1], rows, share_inputs=True)
            queue.wait_all()
        finally:
            self._queues.put(queue)

    def _run_one(self, inputs: npt.NDArray[np.uint8], results: dict[str, npt.NDArray[np.float32]]) -> None:
        """Besides the queues, which batches have to themselves: ``wait_all`` waits for all that is in one."""
        request = self._idle.get()
        try:
            request.infer(inputs, share_inputs=True)
            _take(request, {name: array[0] for name, array in results.items()})
        finally:
            self._idle.put(request)


def _take(request: Any, rows: dict[str, npt.NDArray[np.float32]]) -> None:
    """Copy a frame's outputs to where they belong; frames may come in any order."""
    for name, row in rows.items():
        row[:] = request.get_tensor(name).data[0]


def precision_of(network: Any, core: Any) -> str:
    """What the layers that are not in 8 bits compute in: ``f32``, or ``bf16`` where the processor has it.

    Those of a network in 8 bits only: what a network in single precision says is the same on all machines.
    """
    is_quantized = any(node.get_type_name() == "FakeQuantize" for node in network.get_ops())
    return "bf16" if is_quantized and has_bfloat16(core) else "f32"


def _settings(threads: int, streams: int) -> dict[str, Any]:
    """All cores and as many frames at a time as told, threads not pinned: decoding and encoding run too."""
    return {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
