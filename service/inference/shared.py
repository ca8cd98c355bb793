"""One inference process for the whole service, and the model as its streams and clips see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from service.backoff import Backoff
from service.batching import BATCHES_AT_ONCE
from service.errors import InferenceLostError
from service.inference.capacity import MEMORY
from service.inference.client import RemoteClassifier, read_statistics
from service.inference.client_pool import ClientPool
from service.inference.queueing import BatchSettings, Priority
from service.inference.server import InferenceListener, InferenceSettings, serve_inference
from service.inference.statistics import InferenceStatistics
from service.inference.turn import STANDBY_DELAY, Turn
from service.inference.wire import InferenceAddress
from service.supervisor import ChildSpec, ChildState, Supervisor
from service.types import ServedModel

PROCESS: Final = "inference"
STANDBY: Final = "inference standby"
START_SECONDS: Final = 300.0
"""To load a model and run it for the first time, on a slow machine."""
SILENCE_SECONDS: Final = 30.0
"""One batch takes seconds on a busy processor; longer than this is a device that hangs."""
LOST_SECONDS: Final = 120.0
"""How long a client waits for the process to come back."""


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """The served model to those who classify elsewhere. Picklable."""

    served: ServedModel
    address: InferenceAddress

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def labels(self) -> tuple[str, ...]:
        return self.served.labels

    @property
    def views(self) -> int:
        return self.served.views

    def open(self, batch_size: int) -> RemoteClassifier | ClientPool:
        """For an uploaded clip: many inputs at once, after the live streams."""
        client = self._open_upload(batch_size)
        if client.frames > 1:
            return client
        return ClientPool([client, *(self._open_upload(batch_size) for _ in range(BATCHES_AT_ONCE - 1))])

    def _open_upload(self, batch_size: int) -> RemoteClassifier:
        return RemoteClassifier(
            self.address,
            self.served,
            priority=Priority.UPLOAD,
            slots=batch_size,
            timeout=LOST_SECONDS,
        )

    def open_features(self, while_waiting: Callable[[], None]) -> RemoteClassifier:
        """For examples to learn from: with what the network saw, after the live streams."""
        return RemoteClassifier(
            self.address,
            self.served,
            timeout=LOST_SECONDS,
            while_waiting=while_waiting,
            with_features=True,
        )

    def open_live(self, while_waiting: Callable[[], None]) -> RemoteClassifier:
        """For a live stream: one input at a time, first in turn."""
        return RemoteClassifier(
            self.address,
            self.served,
            priority=Priority.LIVE,
            slots=1,
            timeout=LOST_SECONDS,
            while_waiting=while_waiting,
        )


class SharedInference:
    """Keeps the inference process running under a supervisor; a context manager.

    With ``standby`` a second process, which has loaded the model too, takes over when the first dies or
    hangs; whichever of the two died is started again as the new standby, after ``standby_delay`` seconds.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        served: ServedModel,
        batching: BatchSettings,
        *,
        max_clients: int = 256,
        standby: bool = False,
        standby_delay: float = STANDBY_DELAY,
    ) -> None:
        self._standby_delay = standby_delay
        self._names = (PROCESS, STANDBY) if standby else (PROCESS,)
        self._supervisor = supervisor
        self._served = served
        self._settings = InferenceSettings(batching=batching, max_clients=max_clients)
        self._stack = ExitStack()
        self._known_pid: int | None = None
        self.statistics: InferenceStatistics | None = None

    def __enter__(self) -> Self:
        self._listener = self._stack.enter_context(InferenceListener())
        turn = self._stack.enter_context(Turn(self._standby_delay)) if len(self._names) > 1 else None
        load = partial(self._served.open, self._settings.batching.max_batch)
        for name in self._names:
            comes_second = name == STANDBY
            self._supervisor.start(
                ChildSpec(
                    name,
                    serve_inference,
                    (self._listener.socket, load, self._settings, turn, comes_second),
                    start_timeout=START_SECONDS * (2 if comes_second else 1),
                    beat_timeout=SILENCE_SECONDS,
                    backoff=Backoff(limit=4.0),
                )
            )
        return self

    def __exit__(self, *exc: object) -> None:
        for name in reversed(self._names):  # the standby first, or it would take over
            self._supervisor.stop(name)
        self._stack.close()

    @property
    def model(self) -> RemoteModel:
        return RemoteModel(self._served, self._listener.address)

    @property
    def address(self) -> InferenceAddress:
        return self._listener.address

    @property
    def is_ready(self) -> bool:
        """Whether the network is loaded and has run once."""
        return self._running > 0

    @property
    def has_standby(self) -> bool:
        """Whether another process would take over at once."""
        return self._running > 1

    @property
    def restarts(self) -> int:
        """How often a process of the network has died or was ended because it hung."""
        return sum(status.failures for status in map(self._supervisor.status, self._names) if status)

    @property
    def _running(self) -> int:
        states = [status.state for status in map(self._supervisor.status, self._names) if status]
        return states.count(ChildState.RUNNING)

    def measure(self) -> float | None:
        """Ask for figures, which takes as long as a batch; return the inputs per second that can be taken.

        None if there is no answer, or only that of a process which took over just now: it was warmed up
        beside others, and its first batches tell better.
        """
        try:
            figures = self.statistics = read_statistics(self.address)
        except InferenceLostError:
            return None
        if self._known_pid not in (None, figures.pid) and sum(figures.batch_sizes) < MEMORY:
            return None
        self._known_pid = figures.pid
        return figures.capacity

    @property
    def trouble(self) -> str | None:
        """Why it is not ready, if that is known."""
        statuses = map(self._supervisor.status, self._names)
        return next((status.reason for status in statuses if status and status.reason), None)
