"""The reference engine, and the one for GPUs: TensorFlow."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.artifact import with_features
from service.engines.compiled import CompiledNetwork, precision
from service.types import Image, ImageToInput


class KerasArtifact(Protocol):
    """What this engine needs of a stored model (``models.artifact.Artifact``)."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def preprocessing(self) -> ImageToInput: ...

    def build(self) -> Any:
        """The Keras model: (N, h, w, 3) values 0..255 to (N, classes) probabilities."""
        ...


class KerasClassifier:
    """Runs a stored model in batches of one fixed size, or of a few (see ``CompiledNetwork``).

    On a GPU the network is compiled by XLA and computes in half precision up to the probabilities, which are
    in single precision; ``accelerated`` says otherwise than what the devices say. For use from one thread.
    """

    def __init__(
        self,
        artifact: KerasArtifact,
        *,
        batch_size: int = 8,
        buckets: bool = False,
        accelerated: bool | None = None,
    ) -> None:
        self._preprocessing = artifact.preprocessing
        self._labels = tuple(artifact.labels)
        self._batch_size = batch_size
        with precision(accelerated) as is_accelerated:
            self._network = CompiledNetwork(
                with_features(artifact.build()),
                np.uint8,
                batch_size=batch_size,
                buckets=buckets,
                accelerated=is_accelerated,
            )

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
        """Run every size once, so that the first frame does not pay for what is set up lazily."""
        self._network.warm_up()

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self.embed(inputs)[0]

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        probabilities, features = self._network(inputs)
        return np.clip(probabilities, 0.0, 1.0, out=probabilities), features

    def reset(self) -> None:
        """Nothing to forget: every input is judged alone."""
