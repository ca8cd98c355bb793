"""The inference process: one engine, many clients.

One thread does everything but run the network (``lanes``), so there is no lock to hold and no order to get
wrong: while the network runs, requests gather, which is the very moment at which they should gather. An
engine that runs several inputs side by side gets the next one the moment it can take one, not when a whole
batch is through. The process that owns the service keeps the listening socket through restarts, so clients
wait in its queue meanwhile.
"""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from service.batching import batch_sizes
from service.child import Child
from service.errors import ConfigurationError
from service.inference.capacity import CapacityEstimate
from service.inference.lanes import Lanes, Run
from service.inference.queueing import BatchSettings, FairQueue, Priority, Ticket
from service.inference.statistics import Tally
from service.inference.turn import Turn
from service.inference.wire import (
    MESSAGE_BYTES,
    Answer,
    Hello,
    InferenceAddress,
    Purpose,
    Request,
    Roster,
    SharedSlots,
    Welcome,
    create_slots,
    is_same_user,
    pack_refusal,
)
from service.types import Classifier, LearningEngine
from service.windows import FixedEngine, FrameWindow, engine_of, lanes_of

PATIENCE: Final = 0.2
"""Seconds between two looks at whether the process shall stop."""
HANGING_BATCHES: Final = 10
"""So many times as long as the largest batch takes: no busy machine makes it so late, a hung device does."""
SHORTEST_HANG: Final = 2.0
MAX_STRANGERS: Final = 128
"""Connections that have not said yet what they want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """Limits of an inference process: connections, and model inputs in flight per client."""

    batching: BatchSettings = field(default_factory=BatchSettings)
    max_clients: int = 64
    max_slots: int = 16

    def check(self) -> None:
        """Raise ``ConfigurationError`` for a value that cannot work."""
        self.batching.check()
        for name in ("max_clients", "max_slots"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")


class InferenceListener:
    """The socket on which an inference process accepts clients; held by whoever supervises it."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind("")  # the kernel chooses a free abstract name
        self.socket.listen(128)

    @property
    def address(self) -> InferenceAddress:
        """What clients need to know; picklable."""
        return InferenceAddress(self.socket.getsockname())

    def close(self) -> None:
        """Take no more clients; those that wait for a server notice."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def serve_inference(
    child: Child,
    listener: socket.socket,
    load: Callable[[], Classifier],
    settings: InferenceSettings,
    turn: Turn | None = None,
    comes_second: bool = False,
) -> None:
    """Be an inference process until told to stop: the main function of a ``supervisor.ChildSpec``.

    ``listener`` is that of an ``InferenceListener``. A failure of the engine ends the process, since what
    is left of a device after one is anybody's guess; the supervisor starts it afresh and clients retry.

    With a ``turn`` there are two such processes: one serves, the other one has loaded and warmed up its
    engine and does nothing until the first is gone. ``comes_second`` tells who stands by at the start.
    """
    settings.check()
    if turn:
        turn.wait_to_load(child, comes_second=comes_second)
        if child.stopping.is_set():
            return
    with listener, InferenceServer(listener, load(), settings) as server:
        server.warm_up()
        child.ready()
        if turn and not turn.wait_to_serve(child):
            return
        while not child.stopping.is_set():
            if server.is_going_on:
                # Who is replaced at once may be given up soon; else a wrong guess costs a load of the model.
                child.beat(server.patience if turn else None)
            server.step(PATIENCE)


class InferenceServer:
    """Accepts clients, takes requests, has batches run, answers; ``step`` by ``step``.

    An engine with several lanes gets one input at a time in each.
    """

    def __init__(self, listener: socket.socket, classifier: Classifier, settings: InferenceSettings) -> None:
        self._listener = listener
        engine = engine_of(classifier)
        self._engine = engine if isinstance(engine, LearningEngine) else FixedEngine(engine)
        self._roster = Roster(self._engine.labels, self._engine.shadows)
        self._look_at = 0.0
        self._settings = settings
        height, width, channels = classifier.model_input(np.zeros((32, 32, 3), np.uint8)).shape
        self._input_shape = (int(height), int(width), int(channels))
        self._lanes = Lanes(self._engine.encode, lanes_of(self._engine))
        batching = replace(settings.batching, max_batch=1) if self._lanes.count > 1 else settings.batching
        self._batch_size = batching.max_batch
        self._queue = FairQueue(batching)
        self._tally = Tally(batching.max_batch)
        self._capacity = CapacityEstimate({1: 1.0})
        self._numbers = itertools.count()
        self._clients: dict[int, _Client] = {}
        self._strangers: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._lanes, selectors.EVENT_READ)

    @property
    def patience(self) -> float:
        """Seconds after which a batch must be hanging."""
        return max(SHORTEST_HANG, HANGING_BATCHES * self._capacity.seconds(self._most))

    @property
    def _most(self) -> int:
        """Inputs that may run together: one lane's batch, or one in each lane."""
        return self._lanes.count * self._batch_size

    @property
    def is_going_on(self) -> bool:
        """Whether the network does: none is waited for, or one began or came through since the last look."""
        since = self._lanes.waiting_since
        return since is None or time.monotonic() - since <= PATIENCE

    def warm_up(self) -> None:
        """Run as many inputs as may come together, and time it: no client pays for what is set up lazily."""
        seconds = {}
        for size in batch_sizes(self._most):
            self._time(size)
            seconds[size] = self._time(size)
        self._capacity = CapacityEstimate(seconds)
        self._fit_uploads()

    def step(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for something to do, and do it."""
        self._refresh()
        due_at = self._queue.due_at()
        if due_at is not None and self._lanes.is_free:
            timeout = min(timeout, max(0.0, due_at - time.monotonic()))
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, _Client):
                self._receive(key.data)
            elif key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                self._greet(key.fileobj)
        for run in self._lanes.finished():
            self._finish(run)
        while self._lanes.is_free and (due_at := self._queue.due_at()) is not None:
            now = time.monotonic()
            if now < due_at:
                break
            self._begin(self._queue.take(now), now)

    def _refresh(self) -> None:
        """Take in labels that have come or gone; a batch is judged by one set of labels as a whole."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + PATIENCE
            if self._engine.refresh():
                self._roster = Roster(self._engine.labels, self._engine.shadows)

    def close(self) -> None:
        """Let go of all clients, who notice at once."""
        for client in list(self._clients.values()):
            self._dismiss(client)
        for stranger in self._strangers:
            stranger.close()
        self._selector.close()
        self._lanes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _time(self, size: int) -> float:
        """Seconds that so many inputs take together."""
        inputs = np.zeros((size, *self._input_shape), np.uint8)
        start = time.monotonic()
        for first in range(0, size, self._batch_size):
            self._lanes.begin((), inputs[first : first + self._batch_size])
        features = np.concatenate([run.result()[0] for run in self._lanes.rest()])
        windows = [FrameWindow(self._engine.frames).extend(features[i : i + 1]) for i in range(size)]
        self._engine.decide(np.concatenate(windows))
        return time.monotonic() - start

    def _fit_uploads(self) -> None:
        self._queue.upload_room = self._capacity.largest_within(self._settings.batching.live_delay)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # none is left, or no descriptor is free
                return
            if not is_same_user(connection) or len(self._strangers) >= MAX_STRANGERS:
                connection.close()
                continue
            connection.setblocking(False)
            self._strangers.add(connection)
            self._selector.register(connection, selectors.EVENT_READ)

    def _greet(self, connection: socket.socket) -> None:
        """Make a client of a connection, or answer its question and let it go."""
        self._strangers.discard(connection)
        client = None
        try:
            hello = Hello.unpack(connection.recv(MESSAGE_BYTES))
            if hello.purpose is Purpose.STATISTICS:
                statistics = self._tally.statistics(len(self._clients), self._queue.depth, self._capacity)
                connection.send(statistics.pack())
            elif len(self._clients) >= self._settings.max_clients:
                self._tally.refused += 1
                connection.send(pack_refusal(self._settings.max_clients))
            else:
                client = self._welcome(connection, hello)
                self._clients[client.number] = client
                is_live = hello.purpose is Purpose.LIVE
                self._queue.connect(client.number, Priority.LIVE if is_live else Priority.UPLOAD)
                self._selector.modify(connection, selectors.EVENT_READ, client)
        except (OSError, ValueError):  # gone, or does not speak our language
            pass
        finally:
            if client is None:
                self._selector.unregister(connection)
                connection.close()

    def _welcome(self, connection: socket.socket, hello: Hello) -> _Client:
        engine, shape = self._engine, self._input_shape
        slots = min(hello.slots, self._settings.max_slots)
        width = engine.width if hello.purpose is Purpose.FEATURES else 0
        fd = create_slots(slots, shape, engine.columns + width)
        try:
            client = _Client(
                next(self._numbers),
                connection,
                SharedSlots(fd, slots, shape, engine.columns, width),
                FrameWindow(engine.frames),
                self._roster,
            )
            welcome = Welcome(
                engine.classes, self._roster, shape, slots, engine.columns, width, engine.frames
            )
            socket.send_fds(connection, [welcome.pack()], [fd])
        finally:
            os.close(fd)
        return client

    def _receive(self, client: _Client) -> None:
        """Queue a request; a client that is gone or breaks the rules is dismissed."""
        try:
            request = Request.unpack(client.connection.recv(MESSAGE_BYTES))
            if client.unanswered or request.count > len(client.slots.inputs):
                raise ValueError(f"out of turn or too large: {request}")
        except (OSError, ValueError):
            self._dismiss(client)
            return
        if request.is_fresh:
            client.window.reset()
        if request.attempt > 1:
            self._tally.retried_inputs += request.count
        client.request = request.number
        client.unanswered = client.count = request.count
        self._queue.submit(client.number, request.count, min(request.submitted_at, time.monotonic()))

    def _begin(self, batch: list[Ticket], now: float) -> None:
        for ticket in batch:
            self._tally.count_wait(ticket.priority, now - ticket.submitted_at)
        inputs = [self._clients[ticket.client].slots.inputs[ticket.position] for ticket in batch]
        self._lanes.begin(batch, np.stack(inputs))

    def _finish(self, run: Run) -> None:
        """Judge what came through and answer; clients may have gone meanwhile."""
        features, seconds = run.result()
        start = time.monotonic()
        rows = [
            (self._clients[ticket.client], ticket.position, row)
            for ticket, row in zip(run.batch, features, strict=True)
            if ticket.client in self._clients
        ]
        if not rows:
            return
        windows = [client.window.extend(row[np.newaxis]) for client, _, row in rows]
        results = self._engine.decide(np.concatenate(windows))
        used = results.shape[1]
        for (client, position, row), result in zip(rows, results, strict=True):
            client.slots.probabilities[position, :used] = result
            if client.unanswered == client.count:
                client.begun = self._roster
            if client.slots.features.shape[1]:
                client.slots.features[position] = row[-self._engine.width :]
            client.unanswered -= 1
        seconds += time.monotonic() - start
        self._tally.count_batch(len(run.batch), seconds)
        self._capacity.note(run.together * len(run.batch), seconds, time.monotonic())
        self._fit_uploads()
        for client in dict.fromkeys(client for client, _, _ in rows):
            if not client.unanswered and client.begun != self._roster:
                # Labels changed amid this request: its rows are not of one kind.
                client.unanswered = client.count
                self._queue.submit(client.number, client.count, run.began_at)
            elif not client.unanswered:
                try:
                    client.connection.send(self._answer(client).pack())
                except OSError:  # gone, or does not read its answers
                    self._dismiss(client)

    def _answer(self, client: _Client) -> Answer:
        known, client.roster = client.roster, self._roster
        return Answer(client.request, self._roster if known != self._roster else None)

    def _dismiss(self, client: _Client) -> None:
        """Forget a client; its memory goes with the last reference to it."""
        self._selector.unregister(client.connection)
        client.connection.close()
        del self._clients[client.number]
        self._tally.lost_inputs += self._queue.disconnect(client.number)


@dataclass(slots=True, eq=False)
class _Client:
    """A connected client; ``unanswered`` of the ``count`` inputs of its ``request`` are still to come.

    ``window`` is what a clip model remembers of it, ``roster`` what it was last told of
    labels, ``begun`` those by which the first input of its request was judged.
    """

    number: int
    connection: socket.socket
    slots: SharedSlots
    window: FrameWindow
    roster: Roster
    request: int = 0
    count: int = 0
    unanswered: int = 0
    begun: Roster | None = None
