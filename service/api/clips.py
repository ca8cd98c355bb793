"""Clips: upload, follow, fetch the results, remove."""

from __future__ import annotations

import asyncio
import logging
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.api import uploads
from service.api.auth import requires
from service.api.media import AVI, VIDEO_ANSWERS, VideoResponse, content
from service.api.problems import ANSWERS
from service.api.schemas import PLACE, ClipAccepted, ClipLinks, ClipList, ClipOptionsIn, ClipOut
from service.api.settings import Scope
from service.api.state import Services, services
from service.clips.records import Clip, ClipOptions, ClipState
from service.clips.worker import STEM, VIDEO
from service.engines.restricted import check_labels
from service.errors import ClipFailedError, ClipNotFoundError, ClipNotReadyError
from service.sinks.event_files import SUFFIXES, EventReport, read_events, to_csv, to_json, to_vtt
from service.types import Event

router = APIRouter(prefix="/clips", tags=["clips"])
logger = logging.getLogger(__name__)
View = Depends(requires(Scope.VIEW))
Upload = Depends(requires(Scope.UPLOAD))
Serving = Annotated[Services, Depends(services)]
After = Annotated[str | None, Query(pattern=PLACE, description="The `next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most clips on a page.")]


class EventFormat(StrEnum):
    JSON = "json"
    CSV = "csv"
    VTT = "vtt"


_MEDIA: Final = {
    EventFormat.JSON: "application/json",
    EventFormat.CSV: "text/csv",
    EventFormat.VTT: "text/vtt",
}
_SUFFIX: Final = dict(zip(EventFormat, SUFFIXES, strict=True))

_GONE: Final[dict[int | str, dict[str, Any]]] = {
    404: ANSWERS["4XX"] | {"description": "There is no such clip, or its results were deleted from the disk."}
}

_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **ClipOptionsIn.model_json_schema()["properties"],
                    },
                }
            }
        },
    }
}


@router.post("", status_code=HTTPStatus.ACCEPTED, dependencies=[Upload], openapi_extra=_FORM)
async def upload(request: Request, serving: Serving, response: Response) -> ClipAccepted:
    """Upload a video (field `file`) with options as further fields; it is worked on in its turn.

    413 larger than the service takes, 415 not a video, 503 too many wait or storage fails, 507 no space left.
    """
    clips = serving.clips
    announced = request.headers.get("content-length", "")
    expected = max(0, int(announced) - uploads.OVERHEAD) if announced.isdecimal() else 0
    reservation = await asyncio.to_thread(clips.admit, expected)
    try:
        form = await uploads.receive(
            request,
            reservation.source,
            serving.settings.upload_idle_seconds,
            serving.stopping,
            lambda size: clips.grow(reservation, size),
        )
        labels = await asyncio.to_thread(lambda: clips.provider.labels)  # from a file, as they may change
        options = _options(form.fields, labels)
        name = form.file_name or "clip"
        async with serving.probes:
            video = await asyncio.to_thread(clips.examine, reservation.source, name)
        clip = await asyncio.to_thread(clips.add, reservation, name, video, options)
    finally:
        await asyncio.to_thread(clips.release, reservation)
    links = ClipLinks.of(clip)
    response.headers["Location"] = links.self
    return ClipAccepted(id=clip.id, state=clip.state, links=links)


@router.get("", dependencies=[View])
async def list_clips(serving: Serving, after: After = None, limit: Limit = 100) -> ClipList:
    """Clips without their events, the newest first, a page at a time."""
    return ClipList.of(serving.clips.all(), after, limit)


@router.get("/{clip_id}", dependencies=[View])
async def show(clip_id: str, serving: Serving) -> ClipOut:
    """State, progress, pace, the events so far, and what went wrong."""
    clip = serving.clips.get(clip_id)
    return ClipOut.of(clip, await _found(clip, serving))


@router.get(
    "/{clip_id}/annotated",
    dependencies=[View],
    response_class=VideoResponse,
    responses=VIDEO_ANSWERS | _GONE,
)
async def annotated(clip_id: str, serving: Serving) -> VideoResponse:
    """The annotated video (AVI, MJPG); takes `Range`. 409 until the clip is done."""
    clip = _done(serving.clips.get(clip_id))
    stem = clip.name.rpartition(".")[0] or clip.name
    path = serving.clips.folder(clip) / VIDEO
    if not await asyncio.to_thread(path.is_file):
        raise _gone()
    return VideoResponse(path, media_type=AVI, filename=f"{stem}_events.avi")


@router.get(
    "/{clip_id}/events",
    dependencies=[View],
    response_class=Response,
    responses=content(*_MEDIA.values()) | _GONE,
)
async def events(
    clip_id: str, serving: Serving, fmt: Annotated[EventFormat, Query(alias="format")] = EventFormat.JSON
) -> Response:
    """The events as `video-events run` writes them; those so far, of a clip that is not done."""
    clip = serving.clips.get(clip_id)
    if clip.state is ClipState.DONE:
        try:
            body = await asyncio.to_thread(_events_file(clip, fmt, serving).read_bytes)
        except FileNotFoundError:
            raise _gone() from None
    else:
        body = (await _so_far(clip, fmt, serving)).encode()
    return Response(body, media_type=_MEDIA[fmt])


@router.delete("/{clip_id}", status_code=HTTPStatus.NO_CONTENT, dependencies=[Upload])
async def remove(clip_id: str, serving: Serving) -> None:
    """Cancel a clip that waits or is worked on, and remove it with all its results."""
    await asyncio.to_thread(serving.clips.remove, clip_id)


def _options(fields: dict[str, str], labels: tuple[str, ...]) -> ClipOptions:
    try:
        options = ClipOptionsIn.model_validate(
            {name: text for name, text in fields.items() if text}
        ).options()
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None
    if options.labels is not None:
        check_labels(options.labels, labels)
    return options


def _done(clip: Clip) -> Clip:
    if clip.state is ClipState.FAILED:
        raise ClipFailedError(f"this clip failed: {clip.error}")
    if clip.state is not ClipState.DONE:
        raise ClipNotReadyError(f"this clip is {clip.state.value}; its video is there when it is done")
    return clip


def _events_file(clip: Clip, fmt: EventFormat, serving: Services) -> Path:
    return serving.clips.folder(clip) / (STEM + _SUFFIX[fmt])


def _gone() -> ClipNotFoundError:
    return ClipNotFoundError("the results of this clip were deleted from the disk of this service")


async def _found(clip: Clip, serving: Services) -> tuple[Event, ...]:
    """The events of the last attempt: from the results, which the log may forget before, or from the log."""
    if clip.state is ClipState.DONE:
        path = _events_file(clip, EventFormat.JSON, serving)
        try:
            return await asyncio.to_thread(read_events, path, clip.id)
        except (OSError, ValueError) as error:
            logger.warning("the results of clip %s cannot be read: %s", clip.id, error)
    return await asyncio.wrap_future(serving.log.events(clip.id, f"{clip.attempt_name}-"))


async def _so_far(clip: Clip, fmt: EventFormat, serving: Services) -> str:
    found = await _found(clip, serving)
    if fmt is EventFormat.CSV:
        return to_csv(found)
    if fmt is EventFormat.VTT:
        return to_vtt([event for event in found if event.end_pts is not None])
    settings = clip.options.settings
    report = EventReport(
        source=clip.name,
        model=clip.model,
        window=None if settings.window_seconds is not None else settings.window,
        window_seconds=settings.window_seconds,
        frames=clip.frames,
        fps=clip.video.fps,
        duration=clip.frames / clip.video.fps,
        events=found,
    )
    return to_json(report)
