"""Answers that are not JSON: live pictures, videos in parts; how the API's readers are told of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final

from fastapi.responses import FileResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable
from starlette.types import Receive, Scope, Send

from service.api.problems import ANSWERS
from service.api.state import Places

AVI: Final = "video/x-msvideo"
JPEG: Final = "image/jpeg"


class LiveResponse(StreamingResponse):
    """What goes on for as long as the client watches, who has one of the places of ``viewers`` for so long.

    Raises the ``HTTPException`` for one client too many.
    """

    def __init__(self, parts: AsyncIterator[bytes], viewers: Places, media_type: str) -> None:
        # Unless nginx is told so, it keeps what has come of a picture until the next one.
        super().__init__(parts, media_type=media_type, headers={"X-Accel-Buffering": "no"})
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._viewers.take():
            await super().__call__(scope, receive, send)


class VideoResponse(FileResponse):
    """Takes ``Range`` as RFC 9110 (14.2) has it: one that is none is ignored, one beyond the end is 416."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable:
            raise HTTPException(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"the video has {file_size} bytes",
                {"Content-Range": f"bytes */{file_size}"},
            ) from None


def content(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """For ``responses=`` of a route whose response class names no media type."""
    return {200: {"content": {media_type: {} for media_type in media_types}}}


VIDEO_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **content(AVI),
    206: {"description": "The part that `Range` asks for.", "content": {AVI: {}}},
    416: ANSWERS["4XX"] | {"description": "`Range` begins beyond the end, which `Content-Range` tells."},
}
"""For ``responses=`` of a route that answers with a ``VideoResponse``."""
