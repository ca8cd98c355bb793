"""The form of ``POST /models/{name}/labels``: example images, or time ranges of a recording."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.api.uploads import OVERHEAD, chunks_of, given_twice, harmless
from service.learning.examples import MOST, Range

MOST_BYTES: Final = 64 << 20
"""Of all images of a form together: they are held in memory."""

FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["label"],
                    "properties": {
                        "label": {"type": "string", "description": "Name of the new label."},
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "Example images, 5 to 20 are best.",
                        },
                        "stream": {"type": "string", "description": "Or: a stream,"},
                        "recording": {"type": "string", "description": "one of its recordings,"},
                        "range": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "and START-END in it, in seconds or mm:ss.",
                        },
                        "force": {"type": "boolean", "description": "Also with fewer than 5 examples."},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class ExampleForm:
    """What was sent: either ``images`` (name, bytes), or ``ranges`` of a ``recording`` of a ``stream``."""

    label: str
    images: tuple[tuple[str, bytes], ...]
    stream: str
    recording: str
    ranges: tuple[Range, ...]
    force: bool


async def receive(
    request: Request, idle_seconds: float, stopping: asyncio.Event, most_bytes: int
) -> ExampleForm:
    """Read the form; ``most_bytes`` is the limit of each image.

    That of all together is ``MOST_BYTES``, or ``most_bytes`` where that is more.
    Raises HTTPException: 400 not a form, 413 too large, 422 what is missing, given twice or does not go
    together; what ``uploads.chunks_of`` does; and LearningError for a range that is none.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send multipart/form-data with example images in fields 'file'"
        )
    chunks = chunks_of(request, idle_seconds, stopping)
    try:
        async with (
            aclosing(chunks),
            aclosing(_limited(chunks, max(MOST_BYTES, most_bytes) + OVERHEAD)) as body,
        ):
            form = await MultiPartParser(request.headers, body, max_files=MOST, max_fields=MOST).parse()
    except (MultiPartException, KeyError) as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"this form cannot be read: {error}") from None
    try:
        return await _read(form, most_bytes)
    finally:
        await form.close()


async def _read(form: FormData, most_bytes: int) -> ExampleForm:
    images = []
    for upload in form.getlist("file"):
        if not isinstance(upload, UploadFile):
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "the fields 'file' are to be files")
        name = harmless(upload.filename or "image")
        if (upload.size or 0) > most_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{name} has more than {most_bytes} bytes"
            )
        images.append((name, await upload.read()))
        await upload.close()  # or it would be held twice
    names = ("label", "stream", "recording", "force")
    for name in names:
        if len(form.getlist(name)) > 1:
            raise given_twice(name)
    label, stream, recording, force = (str(form.get(name) or "").strip() for name in names)
    ranges = tuple(Range.parse(str(text)) for text in form.getlist("range"))
    if not label or bool(stream and recording and ranges) == bool(images):
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "give 'label' and either images in fields 'file', or 'stream', 'recording' and 'range'",
        )
    is_forced = force.lower() in ("1", "true", "yes", "on")
    return ExampleForm(label, tuple(images), stream, recording, ranges, is_forced)


async def _limited(chunks: AsyncGenerator[bytes, None], most: int) -> AsyncGenerator[bytes, None]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > most:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"all examples together have {most} bytes at most"
            )
        yield chunk
