"""What the routes work with; made once, at the start of the app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from service.api.metrics import Metrics
from service.api.settings import ServeSettings
from service.clips.queue import ClipQueue
from service.event_log import EventLog
from service.feed import Feed
from service.inference.shared import SharedInference
from service.learning.trainer import Trainer
from service.streams.manager import StreamManager
from service.webhooks.sender import WebhookSender


class Places:
    """Room for so many clients at once, counted within the event loop."""

    def __init__(self, most: int, refusal: str) -> None:
        """``refusal`` is what one too many is told."""
        self._most = most
        self._refusal = refusal
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place. Raises the ``HTTPException`` for one client too many."""
        if self.taken >= self._most:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, self._refusal)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


@dataclass(frozen=True, slots=True)
class Services:
    """``subscribers`` have WebSockets open, for events or labels; ``viewers`` watch live pictures."""

    settings: ServeSettings
    log: EventLog
    feed: Feed
    clips: ClipQueue
    streams: StreamManager
    inference: SharedInference
    trainer: Trainer
    webhooks: WebhookSender
    metrics: Metrics
    subscribers: Places
    viewers: Places
    probes: asyncio.Semaphore
    lessons: asyncio.Semaphore
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Let go whoever uploads or watches pictures: both would go on for as long as they like."""
        self.stopping.set()
        for stream in self.streams.all():
            stream.pictures.close()


def services(connection: HTTPConnection) -> Services:
    """A dependency."""
    found: Services = connection.app.state.services
    return found
