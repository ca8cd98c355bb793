"""The FastAPI app: what is opened at its start, in which order, and closed at its end in the reverse."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from service import event_log
from service.api import clips, events, health, page, problems
from service.api.auth import Gatekeeper
from service.api.guard import Guard
from service.api.metrics import Metrics
from service.api.settings import ServeSettings
from service.api.state import Services
from service.clips import store
from service.clips.queue import ClipQueue
from service.clips.records import ModelProvider
from service.clips.store import ClipStore
from service.database import Database
from service.errors import StorageError, VideoEventsError
from service.event_log import EventLog, LoggedMessage
from service.feed import Feed

TIDY_SECONDS: Final = 600.0
PROBES: Final = 2
"""Uploads whose first frame is decoded at the same time."""

logger = logging.getLogger(__name__)


def create_app(settings: ServeSettings, provider: ModelProvider) -> FastAPI:
    """``provider`` opens the classifier in each clip's process; it has to be picklable."""
    gatekeeper, metrics = Gatekeeper(settings), Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = await _start(stack, settings, provider, metrics)
            yield

    app = FastAPI(
        title="video-events",
        summary="Labelled events, with start, end and confidence, from video.",
        version=version("video-events"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.ANSWERS,
    )
    app.state.gatekeeper = gatekeeper
    app.add_middleware(Guard, gatekeeper=gatekeeper, metrics=metrics)
    problems.install(app)
    for module in (clips, events, health, page):
        app.include_router(module.router)
    return app


async def _start(
    stack: AsyncExitStack, settings: ServeSettings, provider: ModelProvider, metrics: Metrics
) -> Services:
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"cannot make the folder {settings.data}: {error.strerror}") from error
    database = Database(settings.data / "video-events.db", event_log.SCHEMA + store.SCHEMA)
    stack.callback(database.close)
    log = EventLog(database)

    def count(logged: LoggedMessage) -> None:
        metrics.messages.labels(logged.message.phase.value).inc()

    stack.enter_context(log.listening(count))
    feed = await stack.enter_async_context(Feed(log))
    queue = ClipQueue(ClipStore(database, settings.data / "clips"), log, provider, settings.clip_limits)
    await asyncio.to_thread(queue.start)
    stack.push_async_callback(asyncio.to_thread, queue.close)
    services = Services(settings, log, feed, queue, metrics, asyncio.Semaphore(PROBES))
    metrics.observe(services)
    tidying = asyncio.create_task(_tidy_for_ever(services))
    stack.callback(tidying.cancel)
    return services


async def _tidy_for_ever(services: Services) -> None:
    keep = services.settings.keep_events_days * 86400
    while True:
        try:
            await asyncio.to_thread(services.clips.tidy)
            await asyncio.to_thread(services.log.forget_before, time.time() - keep)
        except VideoEventsError as error:
            logger.warning("could not tidy up: %s", error)
        await asyncio.sleep(TIDY_SECONDS)
