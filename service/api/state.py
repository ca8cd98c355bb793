"""What the routes work with; made once, at the start of the app."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Services:
    settings: ServeSettings
    log: EventLog
    feed: Feed
    clips: ClipQueue
    streams: StreamManager
    inference: SharedInference
    trainer: Trainer
    webhooks: WebhookSender
    metrics: Metrics
    probes: asyncio.Semaphore
    lessons: asyncio.Semaphore
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Let go whoever uploads or watches pictures: both would go on for as long as they like."""
        self.stopping.set()
        for stream in self.streams.all():
            stream.pictures.close()

    def subscribers(self) -> int:
        """Open subscriptions to events and labels."""
        labels = sum(stream.news.followers for stream in self.streams.all())
        return self.feed.subscribers + labels

    def viewers(self) -> int:
        """Who watches live pictures."""
        return sum(stream.pictures.followers for stream in self.streams.all())


def services(connection: HTTPConnection) -> Services:
    """A dependency."""
    found: Services = connection.app.state.services
    return found
