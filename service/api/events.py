"""The event log over HTTP, page by page, and over a WebSocket, as it grows."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, WebSocket

from service.api.auth import requires
from service.api.schemas import GapOut, HelloOut, MessagesOut, message_text
from service.api.settings import Scope
from service.api.sockets import send_until_gone
from service.api.state import Services, services
from service.event_log import MOST_ROWS, EventQuery
from service.feed import Gap

router = APIRouter(tags=["events"])
View = Depends(requires(Scope.VIEW))

LATEST: Final = 1e11
POSITION: Final = Query(ge=0, le=1 << 62, description="The last `position` that is known already.")
After = Annotated[int, POSITION]
Since = Annotated[float | None, Query(alias="from", ge=0, le=LATEST, description="Unix seconds.")]
Until = Annotated[float | None, Query(alias="to", ge=0, le=LATEST, description="Unix seconds, exclusive.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Most messages on a page.")]
OfLabel = Annotated[str | None, Query(max_length=200, description="Only events of this label.")]
OfStream = Annotated[str | None, Query(max_length=200, description="Only events of this stream or clip.")]


@router.get("/events", dependencies=[View])
async def list_messages(
    serving: Annotated[Services, Depends(services)],
    after: After = 0,
    stream: OfStream = None,
    label: OfLabel = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
) -> MessagesOut:
    """Messages in the life of events, in the order in which they were announced, a page at a time.

    The WebSocket of the same path sends them as they come.
    """
    query = EventQuery(after=after, stream=stream, label=label, since=since, until=until, limit=limit)
    page = await asyncio.wrap_future(serving.log.query(query))
    return MessagesOut.of(page, after, limit)


@router.websocket("/events", dependencies=[View])
async def subscribe(
    socket: WebSocket,
    after: Annotated[int | None, POSITION] = None,
    stream: OfStream = None,
    label: OfLabel = None,
) -> None:
    """Messages after ``after`` from the log, then those to come; without ``after`` only those to come."""
    serving = services(socket)
    with serving.subscribers.take():
        await socket.accept()
        start = serving.feed.last if after is None else after
        query = EventQuery(after=start, stream=stream, label=label)
        await send_until_gone(socket, _send(socket, serving, query))


async def _send(socket: WebSocket, serving: Services, query: EventQuery) -> None:
    await socket.send_text(HelloOut(position=query.after, newest=serving.feed.last).model_dump_json())
    async for news in serving.feed.follow(query):
        if isinstance(news, Gap):
            await socket.send_text(GapOut.of(news).model_dump_json())
            continue
        for logged in news:
            await socket.send_text(message_text(logged))
