"""Which model inputs of which clients go through the network together, and when. Pure: time is an argument.

A batch is due when it is full, when its oldest input has waited ``max_wait`` seconds, or when every client
waits already, so that nobody is left to wait for. Live clients are served before uploads, and clients of
one kind in turn, one input each: start-time fair queueing (Goyal, Vin and Cheng, 1996) with inputs of equal
cost, so that one with a pile in hand gets no more than one who comes anew for each input.

So that live streams cannot starve them, uploads get one place whenever one of them has waited
``upload_patience`` seconds since they last got any. So that a live frame, which may come just after a batch
has begun, does not wait for long, uploads fill up batches only to ``upload_room`` inputs while there is any
live client.

Nothing is dropped here: a client hands in one request at a time and waits for the answer.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from service.errors import ConfigurationError

_Turn = tuple[int, int]
"""Inputs that a client has been served, as if it had always been there; then first come, first served."""


class Priority(IntEnum):
    """What a client is; the lower number goes first."""

    LIVE = 0
    UPLOAD = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Limits of batches: ``max_batch`` inputs, times in seconds.

    ``live_delay`` is what a batch may take that uploads fill up beside live clients.
    """

    max_batch: int = 8
    max_wait: float = 0.01
    upload_patience: float = 0.25
    live_delay: float = 0.2

    def check(self) -> None:
        """Raise ``ConfigurationError`` for a value that cannot work."""
        if self.max_batch < 1:
            raise ConfigurationError(f"max_batch must be at least 1, got {self.max_batch}")
        for name in ("max_wait", "upload_patience", "live_delay"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name} must be 0 or more seconds, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """One model input: the ``position``-th of the request that ``client`` made at ``submitted_at``."""

    client: int
    priority: Priority
    position: int
    submitted_at: float


class FairQueue:
    """The inputs that wait, per client in order, and the turn of each client."""

    def __init__(self, settings: BatchSettings) -> None:
        self.upload_room = settings.max_batch
        self._settings = settings
        self._clients: dict[int, Priority] = {}
        self._waiting: dict[int, deque[Ticket]] = {}
        self._turns: dict[Priority, dict[int, _Turn]] = {priority: {} for priority in Priority}
        self._served: dict[int, int] = {}
        self._clock = dict.fromkeys(Priority, 0)
        self._numbers = itertools.count()
        self._upload_served_at = float("-inf")
        self._depth = 0

    @property
    def depth(self) -> int:
        """Number of inputs that wait."""
        return self._depth

    def connect(self, client: int, priority: Priority) -> None:
        """Know a client, so that a batch may be held back for it."""
        self._clients[client] = priority

    def disconnect(self, client: int) -> int:
        """Forget a client and what it waits for; return how many inputs that were."""
        priority = self._clients.pop(client)
        self._served.pop(client, None)
        lost = len(self._waiting.pop(client, ()))
        if lost:
            del self._turns[priority][client]
            self._depth -= lost
        return lost

    def submit(self, client: int, count: int, now: float) -> None:
        """Queue a request of ``count`` (1 or more) inputs of a client whose last one has been served."""
        priority = self._clients[client]
        self._waiting[client] = deque(Ticket(client, priority, i, now) for i in range(count))
        served = max(self._served.get(client, 0), self._clock[priority])
        self._turns[priority][client] = (served, next(self._numbers))
        self._depth += count

    def due_at(self) -> float | None:
        """When the next batch is due: a time in the past for at once, None if nothing waits."""
        if not self._depth:
            return None
        if self._depth >= self._settings.max_batch or len(self._waiting) == len(self._clients):
            return float("-inf")
        return min(tickets[0].submitted_at for tickets in self._waiting.values()) + self._settings.max_wait

    def take(self, now: float) -> list[Ticket]:
        """Remove and return the next batch: 1 to ``max_batch`` inputs if any wait, due or not."""
        batch = []
        if self._upload_is_overdue(now):
            batch.append(self._next(Priority.UPLOAD))
        for priority in Priority:
            while self._turns[priority] and len(batch) < self._room(priority):
                batch.append(self._next(priority))
        if any(ticket.priority is Priority.UPLOAD for ticket in batch):
            self._upload_served_at = now
        return batch

    def _room(self, priority: Priority) -> int:
        """How large a batch may become by inputs of this kind."""
        if priority is Priority.UPLOAD and Priority.LIVE in self._clients.values():
            return min(self.upload_room, self._settings.max_batch)
        return self._settings.max_batch

    def _upload_is_overdue(self, now: float) -> bool:
        uploads = self._turns[Priority.UPLOAD]
        if not uploads:
            return False
        oldest = min(self._waiting[client][0].submitted_at for client in uploads)
        return now - max(oldest, self._upload_served_at) >= self._settings.upload_patience

    def _next(self, priority: Priority) -> Ticket:
        """Take one input of the client whose turn it is."""
        turns = self._turns[priority]
        client = min(turns, key=turns.__getitem__)
        self._clock[priority], _ = turns.pop(client)
        self._served[client] = self._clock[priority] + 1
        waiting = self._waiting[client]
        ticket = waiting.popleft()
        self._depth -= 1
        if waiting:
            turns[client] = (self._served[client], next(self._numbers))
        else:
            del self._waiting[client]
        return ticket
