"""What the inference process counts: plain numbers since its start, which is a reset to Prometheus."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from service.histogram import Durations, Histogram
from service.inference.capacity import CapacityEstimate
from service.inference.queueing import Priority


@dataclass(frozen=True, slots=True)
class InferenceStatistics:
    """``batch_sizes[n - 1]`` batches had n inputs; ``batch_seconds`` is network and copying out.

    ``live_wait_seconds`` and ``upload_wait_seconds`` are from the client's call to the start of the
    input's batch. ``clients`` are connected and ``depth`` inputs wait now; ``refused`` clients found the
    process full, ``lost_inputs`` waited when their client went away, ``retried_inputs`` were handed in
    once more because the process before this one had ended with them. ``capacity`` is inputs per second,
    by the batches of late; ``pid`` is who counts.
    """

    batch_sizes: tuple[int, ...]
    batch_seconds: Histogram
    live_wait_seconds: Histogram
    upload_wait_seconds: Histogram
    clients: int
    depth: int
    refused: int
    lost_inputs: int
    retried_inputs: int
    capacity: float
    pid: int

    def pack(self) -> bytes:
        """One message to who asked."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, message: bytes) -> InferenceStatistics:
        """The reverse of ``pack``."""
        fields: dict[str, Any] = json.loads(message)
        for name in ("batch_seconds", "live_wait_seconds", "upload_wait_seconds"):
            packed = fields[name]
            fields[name] = Histogram(tuple(packed["bounds"]), tuple(packed["counts"]), packed["total"])
        return cls(**{**fields, "batch_sizes": tuple(fields["batch_sizes"])})


class Tally:
    """Counts as it goes; ``statistics`` is a copy at one moment."""

    def __init__(self, max_batch: int) -> None:
        self.refused = 0
        self.lost_inputs = 0
        self.retried_inputs = 0
        self._batch_sizes = [0] * max_batch
        self._batch_seconds = Durations()
        self._waits = {priority: Durations() for priority in Priority}

    def count_wait(self, priority: Priority, seconds: float) -> None:
        """An input began to be classified after ``seconds``."""
        self._waits[priority].add(seconds)

    def count_batch(self, size: int, seconds: float) -> None:
        """A batch of ``size`` inputs took ``seconds``."""
        self._batch_sizes[size - 1] += 1
        self._batch_seconds.add(seconds)

    def statistics(self, clients: int, depth: int, capacity: CapacityEstimate) -> InferenceStatistics:
        """All counts so far, with what is the case now."""
        return InferenceStatistics(
            batch_sizes=tuple(self._batch_sizes),
            batch_seconds=self._batch_seconds.histogram(),
            live_wait_seconds=self._waits[Priority.LIVE].histogram(),
            upload_wait_seconds=self._waits[Priority.UPLOAD].histogram(),
            clients=clients,
            depth=depth,
            refused=self.refused,
            lost_inputs=self.lost_inputs,
            retried_inputs=self.retried_inputs,
            capacity=capacity.now,
            pid=os.getpid(),
        )
