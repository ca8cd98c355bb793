"""Receives a multipart form whose file goes straight to disk: memory does not depend on its size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from service.errors import StoppingError, StorageError

MAX_FIELDS: Final = 16
MAX_FIELD_BYTES: Final = 4096
MAX_NAME: Final = 120
OVERHEAD: Final = 64 << 10
"""Bytes of a form beside its file at most."""
EXTENDED_NAME: Final = re.compile(rb";\s*filename\*=utf-8'[^']*'([^;\s]+)", re.IGNORECASE)
"""A name as RFC 5987 has it. RFC 7578 wants none in a form, but .NET's plain one is legible in ASCII only."""


class Form:
    """What has come of a form: text fields, and the file's name and size; the file itself is on disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.file_bytes = 0
        self.complete = False
        self._file = file
        self._parts = 0
        self._header = self._value = b""
        self._name = ""
        self._is_file = False
        self._field = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a form has {MAX_FIELDS} fields at most"
            )
        self._name, self._is_file = "", False
        self._field.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode(errors="replace")
            if self._name == "file":
                if self.file_name is not None:
                    raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "one file at a time")
                self._is_file = True
                self.file_name = harmless(_file_name(self._value, options.get(b"filename", b"")))
            elif b"filename" in options:
                raise HTTPException(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"the video goes into the field 'file', not into {self._name!r}",
                )
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        if not self._name:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "a part of the form has no name")
        if self._name in self.fields:
            raise given_twice(self._name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.write(memoryview(data)[start:end])
            self.file_bytes += end - start
            return
        self._field += data[start:end]
        if len(self._field) > MAX_FIELD_BYTES:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a field of the form has {MAX_FIELD_BYTES} bytes at most",
            )

    def _end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._field.decode(errors="replace")

    def _finish(self) -> None:
        self.complete = True


async def chunks_of(
    request: Request, idle_seconds: float, stopping: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Raises ``HTTPException``: 400 it breaks off, 408 nothing came for ``idle_seconds``; and ``StoppingError``
    once ``stopping`` is set.
    """
    body = aiter(request.stream())  # ends with one empty chunk
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(stopping.wait())]
    try:
        while True:
            waiting[1:] = [asyncio.ensure_future(anext(body, b""))]
            done, _ = await asyncio.wait(waiting, timeout=idle_seconds, return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                raise StoppingError("the service is being stopped; upload this when it is back")
            if not done:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"nothing came for {idle_seconds:g} s",
                    {"Connection": "close"},
                )
            if not (chunk := waiting[1].result()):
                return
            yield chunk
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the upload breaks off") from None
    finally:
        for one in waiting:
            one.cancel()


async def receive(
    request: Request,
    target: Path,
    idle_seconds: float,
    stopping: asyncio.Event,
    on_bytes: Callable[[int], None],
) -> Form:
    """Write the field ``file`` to ``target`` and return the rest of the form.

    ``on_bytes`` is told the size so far, in another thread, and may refuse. Raises ``HTTPException``: 400 not
    a form that can be read, 413 and 422 for one that is too large, has no file, or a field twice; what
    ``chunks_of`` does; and ``StorageError``.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send multipart/form-data with the video in the field 'file'"
        )
    try:
        with await asyncio.to_thread(target.open, "xb") as file:
            form = Form(file)
            parser = MultipartParser(options[b"boundary"], form.callbacks())
            received = 0
            async with aclosing(chunks_of(request, idle_seconds, stopping)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(_take, chunk, parser, form, on_bytes)
                    received += len(chunk)
                    if received - form.file_bytes > OVERHEAD:  # before its first part, or after its last
                        raise HTTPException(
                            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                            f"a form has {OVERHEAD} bytes beside its file at most",
                        )
    except FormParserError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "this is not a well-formed multipart form") from None
    except OSError as error:
        raise StorageError(f"the upload could not be stored: {error.strerror or error}") from error
    if not form.complete:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the form breaks off")
    if form.file_name is None:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "the field 'file' is missing")
    return form


def _take(chunk: bytes, parser: MultipartParser, form: Form, on_bytes: Callable[[int], None]) -> None:
    parser.write(chunk)
    on_bytes(form.file_bytes)


def _file_name(disposition: bytes, plain: bytes) -> str:
    extended = EXTENDED_NAME.search(disposition)
    return (unquote_to_bytes(extended[1]) if extended else plain).decode(errors="replace")


def given_twice(name: str) -> HTTPException:
    """What to raise where one of two values would be lost."""
    hint = "; separate labels by commas" if name == "labels" else ""
    return HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"the field {name!r} is given twice{hint}")


def harmless(name: str) -> str:
    """A name for people: no folders, no control or reserved signs, not too long.

    >>> harmless("../../etc/pass\\x00wd"), harmless("C:\\\\films\\\\a<b>.mp4"), harmless("")
    ('passwd', 'ab.mp4', 'clip')
    """
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(letter for letter in name if letter.isprintable() and letter not in '<>:"|?*')
    stem, dot, suffix = name.strip(" .").rpartition(".")
    if len(name) > MAX_NAME:
        name = stem[: MAX_NAME - len(suffix) - 1] + dot + suffix if len(suffix) < 10 else name[:MAX_NAME]
    return name.strip(" .") or "clip"
