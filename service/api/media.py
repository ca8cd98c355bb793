"""How an answer that is not JSON is described to those who read the API's description."""

from __future__ import annotations

from typing import Any, Final

AVI: Final = "video/x-msvideo"
JPEG: Final = "image/jpeg"


def content(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """For ``responses=`` of a route whose response class names no media type."""
    return {200: {"content": {media_type: {} for media_type in media_types}}}
