"""The FastAPI app: what is opened at its start, in which order, and closed at its end in the reverse."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from service import event_log
from service.api import clips, events, health, models, page, problems, streams
from service.api import webhooks as webhook_routes
from service.api.auth import Gatekeeper
from service.api.description import TEXT, DescribedApi
from service.api.guard import Guard
from service.api.lingering import Lingering
from service.api.metrics import Metrics
from service.api.schemas import message_body
from service.api.settings import ServeSettings
from service.api.state import Places, Services
from service.clips import store as clip_store
from service.clips.queue import ClipQueue
from service.clips.store import ClipStore
from service.database import Database
from service.errors import StorageError, VideoEventsError
from service.event_log import EventLog
from service.feed import Feed
from service.inference.shared import SharedInference
from service.learning import trials
from service.learning.engine import LearnedModel
from service.learning.trainer import Trainer
from service.streams import store as stream_store
from service.streams.manager import StreamManager
from service.streams.store import StreamStore
from service.supervisor import Supervisor
from service.types import EndReason, ServedModel
from service.webhooks import store as webhook_store
from service.webhooks.sender import WebhookSender

SCHEMA: Final = "".join(part.SCHEMA for part in (event_log, clip_store, stream_store, webhook_store, trials))
TIDY_SECONDS: Final = 600.0
PACE_SECONDS: Final = 1.0
PROBES: Final = 2
"""Uploads whose first frame is decoded at the same time."""
LESSONS: Final = 2
"""Forms with examples that are received and learned from at the same time: what they hold in memory."""
OTHER_CLIENTS: Final = 16
"""Of the network, beside streams and clips: lessons, and processes that end while their successors begin."""
WAITING: Final = 64
"""Threads for requests that wait for the disk, a process or a name service; the loop's own are a few."""

logger = logging.getLogger(__name__)


def create_app(settings: ServeSettings, model: ServedModel) -> FastAPI:
    """``model`` is opened in the inference process; it has to be picklable."""
    gatekeeper, metrics = Gatekeeper(settings), Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            services = await _open(stack, settings, model, metrics)
            await _begin(stack, services)
            app.state.services = services
            yield

    app = DescribedApi(
        title="video-events",
        summary="Labelled events, with start, end and confidence, from video.",
        description=TEXT,
        version=version("video-events"),
        lifespan=lifespan,
        redirect_slashes=False,  # it would send tokens on to an address without TLS
        docs_url=None,
        redoc_url=None,
        responses=problems.ANSWERS,
    )
    app.state.gatekeeper = gatekeeper
    problems.install(app)
    for module in (clips, streams, events, models, webhook_routes, health, page):
        app.include_router(module.router)
    # Not by add_middleware, which would leave what answers unexpected errors outside of it.
    guard = Guard(app.build_middleware_stack(), gatekeeper, metrics, settings.head_seconds)
    app.middleware_stack = Lingering(guard)
    return app


async def _open(
    stack: AsyncExitStack, settings: ServeSettings, model: ServedModel, metrics: Metrics
) -> Services:
    """Make all parts, each after those that it needs; ``stack`` closes them in the reverse order."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(WAITING, "waiting"))
    database = _open_database(stack, settings)
    log = EventLog(database)
    stack.enter_context(log.listening(metrics.count))
    feed = await stack.enter_async_context(Feed(log))
    webhooks = WebhookSender(database, log, settings.webhook_list(), settings.webhook_policy(), message_body)
    await _bracket(stack, webhooks.__enter__, webhooks.close)

    supervisor = Supervisor()
    stack.push_async_callback(asyncio.to_thread, supervisor.close)
    learned = LearnedModel(model, settings.learned_folder)
    inference = _start_inference(stack, settings, supervisor, learned)
    trainer = Trainer(learned, inference.model.open_features, trials.TrialLog(database))
    return Services(
        settings=settings,
        log=log,
        feed=feed,
        clips=ClipQueue(
            ClipStore(database, settings.data / "clips"), log, inference.model, settings.clip_limits
        ),
        streams=StreamManager(
            StreamStore(database),
            log,
            inference.model,
            supervisor,
            settings.data / "recordings",
            settings.stream_limits(),
            asyncio.get_running_loop(),
            on_trial=trainer.hear,
            hardware=settings.hardware_decode,
        ),
        inference=inference,
        trainer=trainer,
        webhooks=webhooks,
        metrics=metrics,
        subscribers=Places(
            settings.max_subscribers, "as many subscribers listen already as this service takes"
        ),
        viewers=Places(settings.max_viewers, "as many watch already as this service takes"),
        probes=asyncio.Semaphore(PROBES),
        lessons=asyncio.Semaphore(LESSONS),
    )


def _open_database(stack: AsyncExitStack, settings: ServeSettings) -> Database:
    """Raises ``StorageError``."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"cannot make the folder {settings.data}: {error.strerror}") from error
    database = Database(settings.data / "video-events.db", SCHEMA)
    stack.callback(database.close)
    return database


def _start_inference(
    stack: AsyncExitStack, settings: ServeSettings, supervisor: Supervisor, model: ServedModel
) -> SharedInference:
    return stack.enter_context(
        SharedInference(
            supervisor,
            model,
            settings.batching,
            max_clients=settings.max_streams + settings.clips_parallel + OTHER_CLIENTS,
            standby=bool(settings.standby),
        )
    )


async def _begin(stack: AsyncExitStack, services: Services) -> None:
    """Have all parts work, until ``stack`` ends what they do."""
    # What was left open by a service that was killed, before anything new can begin.
    await asyncio.wrap_future(services.log.end_open_events(EndReason.SOURCE_LOST))
    await _bracket(stack, services.clips.start, services.clips.close)
    configured = services.settings.stream_definitions()
    await _bracket(stack, lambda: services.streams.start(configured), services.streams.close)
    await _bracket(stack, services.trainer.start, services.trainer.close)
    services.metrics.observe(services)
    for task in (_tidy_for_ever, _pace_for_ever):
        stack.callback(asyncio.create_task(task(services)).cancel)


async def _bracket(stack: AsyncExitStack, start: Callable[[], object], close: Callable[[], object]) -> None:
    """Start what may wait for something, in a thread, and have ``stack`` close it likewise."""
    await asyncio.to_thread(start)
    stack.push_async_callback(asyncio.to_thread, close)


async def _pace_for_ever(services: Services) -> None:
    """Give every stream the rate that the network has time for, as it is at the moment."""
    while True:
        with _failures_logged("rates could not be adapted"):
            capacity = await asyncio.to_thread(services.inference.measure)
            if capacity is not None:
                await asyncio.to_thread(services.streams.adapt, capacity)
        await asyncio.sleep(PACE_SECONDS)


async def _tidy_for_ever(services: Services) -> None:
    keep = services.settings.keep_events_days * 86400
    steps: dict[str, Callable[[], object]] = {
        "recordings": services.streams.tidy,  # first: it only frees room, which the others may need
        "clips": services.clips.tidy,
        "events": lambda: services.log.forget_before(time.time() - keep),
    }
    while True:
        for name, step in steps.items():
            with _failures_logged(f"old {name} could not be tidied up"):
                await asyncio.to_thread(step)
        await asyncio.sleep(TIDY_SECONDS)


@contextmanager
def _failures_logged(what: str) -> Iterator[None]:
    """Whatever goes wrong once in a task that never ends must not end it."""
    try:
        yield
    except VideoEventsError as error:
        logger.warning("%s: %s", what, error)
    except Exception:
        logger.exception("%s", what)
