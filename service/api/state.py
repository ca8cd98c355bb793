"""What the routes work with; made once, at the start of the app."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from service.api.metrics import Metrics
from service.api.settings import ServeSettings
from service.clips.queue import ClipQueue
from service.event_log import EventLog
from service.feed import Feed


@dataclass(frozen=True, slots=True)
class Services:
    settings: ServeSettings
    log: EventLog
    feed: Feed
    clips: ClipQueue
    metrics: Metrics
    probes: asyncio.Semaphore


def services(connection: HTTPConnection) -> Services:
    """A dependency."""
    found: Services = connection.app.state.services
    return found
