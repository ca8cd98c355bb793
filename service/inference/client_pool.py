"""Several clients of the inference process as one ``Classifier``, for as many threads."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from service.engines.delegating import DelegatingClassifier
from service.inference.client import RemoteClassifier
from service.types import Judgement


class ClientPool(DelegatingClassifier):
    """Whoever calls gets the client that has been free for longest: the next inputs wait at the server
    before the last ones are answered.

    For models that judge frames alone: consecutive frames of one window must go through one client.
    """

    def __init__(self, clients: Sequence[RemoteClassifier]) -> None:
        super().__init__(clients[0])
        self._clients = tuple(clients)
        self.lanes = len(clients)
        self._free: SimpleQueue[RemoteClassifier] = SimpleQueue()
        for client in clients:
            self._free.put(client)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self.judge(inputs).probabilities

    def judge(self, inputs: npt.NDArray[np.uint8]) -> Judgement:
        """As ``RemoteClassifier.judge``."""
        client = self._free.get()
        try:
            return client.judge(inputs)
        finally:
            self._free.put(client)

    def close(self) -> None:
        """Let go of all connections; ``judge`` would connect anew."""
        for client in self._clients:
            client.close()
