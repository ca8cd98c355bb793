"""Live streams: add, follow, watch, change, remove."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from enum import StrEnum
from http import HTTPStatus
from math import inf
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response, WebSocket

from service.api.auth import requires
from service.api.events import After, Limit, OfLabel, Since, Until
from service.api.media import AVI, JPEG, VIDEO_ANSWERS, LiveResponse, VideoResponse, content
from service.api.problems import problem
from service.api.schemas import MessagesOut
from service.api.settings import Scope
from service.api.sockets import send_until_gone
from service.api.state import Services, services
from service.api.stream_schemas import (
    PLACE,
    CoverageOut,
    HourOut,
    LabelOut,
    MissedOut,
    RecordingList,
    RemovedOut,
    SnapshotOut,
    StateChangeOut,
    StreamChange,
    StreamIn,
    StreamList,
    StreamOut,
    label_text,
)
from service.errors import StreamNotFoundError
from service.event_log import EventQuery
from service.streams.stream import Label, Stream
from service.types import StreamState

router = APIRouter(prefix="/streams", tags=["streams"])
View = Depends(requires(Scope.VIEW))
Manage = Depends(requires(Scope.MANAGE))
Serving = Annotated[Services, Depends(services)]
Rate = Annotated[float | None, Query(gt=0, le=60, description="At most so many per second.")]
AfterRecording = Annotated[str | None, Query(pattern=PLACE, description="The `next` of the page before.")]
RecordingLimit = Annotated[int, Query(ge=1, le=1000, description="Most recordings on a page.")]

MULTIPART: Final = "multipart/x-mixed-replace"
BOUNDARY: Final = "frame"
SNAPSHOT_SECONDS: Final = 5.0
DAY: Final = 86400.0


class Mode(StrEnum):
    """``latest`` skips what the subscriber is too slow for, ``lossless`` only what no longer is in memory."""

    LATEST = "latest"
    LOSSLESS = "lossless"


class Recordings(StrEnum):
    """What becomes of a stream's recordings with it: kept, they stay as long as any others do."""

    KEEP = "keep"
    DELETE = "delete"


@router.post("", status_code=HTTPStatus.CREATED, dependencies=[Manage])
async def add(stream: StreamIn, serving: Serving, response: Response) -> StreamOut:
    """Add a stream; it is remembered over restarts.

    403 the address is not among those that the operator allows, 409 the name is taken or there are too many,
    429 the network has no room for its `rate`: figures say what would fit.
    """
    added = await asyncio.to_thread(serving.streams.add, stream.definition())
    shown = StreamOut.of_stream(added)
    response.headers["Location"] = shown.links.self
    return shown


@router.get("", dependencies=[View])
async def list_streams(serving: Serving) -> StreamList:
    """All streams and how they stand."""
    return StreamList(streams=[StreamOut.of_stream(stream) for stream in serving.streams.all()])


@router.get("/{name}", dependencies=[View])
async def show(name: str, serving: Serving) -> StreamOut:
    """State with its reason, figures, the present label."""
    return StreamOut.of_stream(serving.streams.get(name))


@router.patch("/{name}", dependencies=[Manage])
async def change(name: str, wanted: StreamChange, serving: Serving) -> StreamOut:
    """Give a stream another source or other options: it starts afresh, the others do not notice.

    Options that are left out stay as they are.

    409 it is defined by the operator: only the configuration changes it, 429 the network has no room for more
    than it has: figures say what would fit, and it goes on as it was.
    """
    revise = None if wanted.options is None else wanted.options.revise
    changed = await asyncio.to_thread(serving.streams.change, name, wanted.source, revise)
    return StreamOut.of_stream(changed)


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT, dependencies=[Manage])
async def remove(name: str, serving: Serving, recordings: Recordings = Recordings.KEEP) -> None:
    """Stop and forget a stream, in whatever state it is. Its events stay in the log.

    `recordings=delete` removes its recordings too, also those of a stream that was removed before.

    409 it is defined by the operator: only the configuration removes it.
    """
    with_recordings = recordings is Recordings.DELETE
    await asyncio.to_thread(serving.streams.remove, name, with_recordings=with_recordings)


@router.get("/{name}/events", dependencies=[View])
async def events(
    name: str,
    serving: Serving,
    after: After = 0,
    label: OfLabel = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
) -> MessagesOut:
    """As `GET /events`, of this stream; also of one that was removed."""
    query = EventQuery(after=after, stream=name, label=label, since=since, until=until, limit=limit)
    page = await asyncio.wrap_future(serving.log.query(query))
    return MessagesOut.of(page, after, limit)


@router.get("/{name}/coverage", dependencies=[View])
async def coverage(name: str, serving: Serving, since: Since = None, until: Until = None) -> CoverageOut:
    """How much of each hour was watched; the last 24 hours unless told otherwise."""
    until = time.time() if until is None else until
    since = until - DAY if since is None else since
    hours = await asyncio.wrap_future(serving.log.coverage(name, since, until))
    return CoverageOut(stream=name, hours=[HourOut.of(hour) for hour in hours])


@router.get("/{name}/snapshot.jpg", dependencies=[View], response_class=Response, responses=content(JPEG))
async def snapshot(name: str, serving: Serving) -> Response:
    """The newest annotated picture; 503 when none comes within 5 s, and at once when the stream has ended."""
    stream = serving.streams.get(name)
    seconds = 0.0 if stream.status.state is StreamState.ENDED else SNAPSHOT_SECONDS
    try:
        async with asyncio.timeout(seconds):
            async for _, pictures in stream.pictures.follow():
                return Response(pictures[-1], media_type=JPEG)
    except TimeoutError:
        pass
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, f"there is no picture; the stream is {stream.status.state}"
    )


@router.get("/{name}/live.mjpeg", dependencies=[View], response_class=Response, responses=content(MULTIPART))
async def live(name: str, serving: Serving, rate: Rate = None) -> Response:
    """Annotated pictures as they come, the newest only (multipart/x-mixed-replace)."""
    stream = serving.streams.get(name)
    return LiveResponse(_parts(stream, rate), serving.viewers, f"{MULTIPART}; boundary={BOUNDARY}")


@router.get("/{name}/recordings", dependencies=[View])
async def recordings(
    name: str, serving: Serving, after: AfterRecording = None, limit: RecordingLimit = 100
) -> RecordingList:
    """Annotated video of streams with the option `record`, removed ones too: the newest first, by pages."""
    files = await asyncio.to_thread(serving.streams.recordings, name)
    return RecordingList.of(name, files, after, limit)


@router.get(
    "/{name}/recordings/{file}", dependencies=[View], response_class=VideoResponse, responses=VIDEO_ANSWERS
)
async def recording(name: str, file: str, serving: Serving) -> VideoResponse:
    """One recording (AVI, MJPG); takes `Range`."""
    for found in await asyncio.to_thread(serving.streams.recordings, name):
        if found.path.name == file:
            return VideoResponse(found.path, media_type=AVI, filename=file)
    raise StreamNotFoundError("there is no recording of this name")


@router.websocket("/{name}/labels", dependencies=[View])
async def labels(socket: WebSocket, name: str, mode: Mode = Mode.LATEST, rate: Rate = None) -> None:
    """A snapshot, then a message for every smoothed prediction and every change of state."""
    serving = services(socket)
    stream = serving.streams.get(name)
    with serving.subscribers.take():
        await socket.accept()
        await send_until_gone(socket, _send(socket, stream, mode, rate))


async def _send(socket: WebSocket, stream: Stream, mode: Mode, rate: float | None) -> None:
    follower = stream.updates.follow()
    last = stream.last_label if stream.status.label is not None else None
    first = SnapshotOut(stream=StreamOut.of_stream(stream), last=LabelOut.of(last) if last else None)
    await socket.send_text(first.model_dump_json())
    sent_at = -inf
    async for missed, updates in follower:
        newest = max((number for number, item in enumerate(updates) if isinstance(item, Label)), default=0)
        if missed:  # among which there may have been a change of state
            if mode is Mode.LOSSLESS:
                await socket.send_text(MissedOut(count=missed).model_dump_json())
            await socket.send_text(StateChangeOut.of(stream.status).model_dump_json())
        for number, item in enumerate(updates):
            if mode is Mode.LATEST and number < newest and isinstance(item, Label):
                continue
            if isinstance(item, Label):
                passed = item.labelled.captured_at - sent_at  # below 0 where the clock was set back
                if rate is None or not 0 <= passed < 0.98 / rate:
                    sent_at = item.labelled.captured_at
                    await socket.send_text(label_text(item))
            else:
                await socket.send_text(StateChangeOut.of(item).model_dump_json())
    await socket.send_text(RemovedOut().model_dump_json())
    await socket.close()


async def _parts(stream: Stream, rate: float | None) -> AsyncIterator[bytes]:
    every = 1 / rate if rate else 0.0
    due_at = time.monotonic()
    async for _, pictures in stream.pictures.follow():
        now = time.monotonic()
        if now < due_at:  # not slept through: the stream may end, or the service
            continue
        due_at = max(due_at, now - every) + every
        jpeg = pictures[-1]
        yield (
            f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            + jpeg
            + b"\r\n"
        )
