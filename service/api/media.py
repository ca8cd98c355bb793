"""Answers that are not JSON: videos in parts, and how such answers are described to the API's readers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable

from service.api.problems import ANSWERS

AVI: Final = "video/x-msvideo"
JPEG: Final = "image/jpeg"


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
