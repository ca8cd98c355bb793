"""The webhooks of a service together: one thread each, one log, one policy of addresses."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Final, Self

from service.addresses import AddressPolicy, Resolve, lookup
from service.database import Database
from service.errors import ConfigurationError
from service.event_log import EventLog, EventQuery, LoggedMessage
from service.webhooks import store
from service.webhooks.records import DeadLetter, DeliveryLimits, Webhook, WebhookCounts
from service.webhooks.worker import Context, Worker

GRACE: Final = 2.0
JOIN_TIMEOUT: Final = 2.5
"""Seconds for requests under way to finish, and then, broken off, for their threads to end."""


class WebhookSender:
    """A context manager that sends while it is open, from a ``Database`` made with ``SCHEMA``.

    ``render`` makes the body, JSON, of a message. It is called in the webhooks' threads.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        hooks: Sequence[Webhook],
        policy: AddressPolicy,
        render: Callable[[LoggedMessage], bytes],
        *,
        limits: DeliveryLimits | None = None,
        resolve: Resolve = lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if len({hook.name for hook in hooks}) < len(hooks):
            raise ConfigurationError("two webhooks have the same name; each needs one of its own")
        self._database = database
        self._log = log
        context = Context(database, log, policy, render, limits or DeliveryLimits(), resolve, tls)
        self._workers = {hook.name: Worker(hook, context) for hook in hooks}
        self._stack = ExitStack()

    @property
    def counts(self) -> dict[str, WebhookCounts]:
        """By the names of the webhooks, as they change."""
        return {name: worker.counts for name, worker in self._workers.items()}

    def __enter__(self) -> Self:
        last = self._log.query(EventQuery(limit=0)).result().last
        positions = self._database.write(lambda db: store.cursors(db, self._workers, last)).result()
        self._stack.enter_context(self._log.listening(self._hear))
        for name, worker in self._workers.items():
            worker.start(positions[name])
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop within 5 s. A request that does not end by then is broken off and made again next time."""
        self._stack.close()
        workers = self._workers.values()
        for worker in workers:
            worker.stop()
        _join(workers, GRACE)
        for worker in workers:
            worker.abort()
        _join(workers, JOIN_TIMEOUT)

    def dead_letters(self, limit: int = 100) -> Future[tuple[DeadLetter, ...]]:
        """The newest of all webhooks, also of those that are configured no more."""
        return self._database.read(lambda db: store.letters(db, limit))

    def retry_dead(self, letter_id: str) -> Future[bool]:
        """Queue a dead letter again; False where there is none, or its webhook is configured no more."""
        worker = self._workers.get(store.webhook_of(letter_id))
        return self._database.write(
            lambda db: worker is not None and store.queue_letter(db, letter_id),
            lambda found: worker.wake() if worker else None,
        )

    def _hear(self, _: LoggedMessage) -> None:
        """Called in the database's thread."""
        for worker in self._workers.values():
            worker.wake()


def _join(workers: Iterable[Worker], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
