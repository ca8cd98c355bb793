"""What is said when something is wrong: RFC 9457 problem details, and never more than the sender may know."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Mapping
from http import HTTPMethod, HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from service.errors import (
    AddressRefusedError,
    ClipFailedError,
    ClipNotFoundError,
    ClipNotReadyError,
    ClipRefusedError,
    ConfigurationError,
    InferenceError,
    LabelExistsError,
    LabelNotFoundError,
    LearningError,
    NotAVideoError,
    OperatorStreamError,
    OverloadedError,
    QueueFullError,
    QuotaError,
    SourceNotFoundError,
    StoppingError,
    StorageError,
    StreamExistsError,
    StreamLimitError,
    StreamNotFoundError,
    UnavailableError,
    VideoEventsError,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = "30"

_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "description": "Of 422: each mistake.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "what"],
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
            },
        },
        **{
            name: {"description": f"Of 429, in classifications per second: {what}.", "type": "number"}
            for name, what in (
                ("capacity", "all that the network takes"),
                ("promised", "what others have of it"),
                ("asked", "what the stream wants"),
                ("fits", "what it could have"),
            )
        },
    },
}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
    for status, text in (("4XX", "The request cannot be met."), ("5XX", "The service cannot answer."))
}
"""For the description of the API."""

_STATUS: Final[Mapping[type[VideoEventsError], HTTPStatus]] = {
    ClipNotFoundError: HTTPStatus.NOT_FOUND,
    ClipNotReadyError: HTTPStatus.CONFLICT,
    ClipFailedError: HTTPStatus.CONFLICT,
    ClipRefusedError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotAVideoError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ConfigurationError: HTTPStatus.UNPROCESSABLE_ENTITY,
    QueueFullError: HTTPStatus.SERVICE_UNAVAILABLE,
    QuotaError: HTTPStatus.INSUFFICIENT_STORAGE,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    StreamNotFoundError: HTTPStatus.NOT_FOUND,
    StreamExistsError: HTTPStatus.CONFLICT,
    OperatorStreamError: HTTPStatus.CONFLICT,
    StoppingError: HTTPStatus.SERVICE_UNAVAILABLE,
    StreamLimitError: HTTPStatus.CONFLICT,
    AddressRefusedError: HTTPStatus.FORBIDDEN,
    LearningError: HTTPStatus.UNPROCESSABLE_ENTITY,
    LabelNotFoundError: HTTPStatus.NOT_FOUND,
    LabelExistsError: HTTPStatus.CONFLICT,
    InferenceError: HTTPStatus.SERVICE_UNAVAILABLE,
    SourceNotFoundError: HTTPStatus.UNPROCESSABLE_ENTITY,
}

logger = logging.getLogger(__name__)


def problem(
    status: int, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A response of the given status; ``more`` are extension members."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    return JSONResponse(body | more, status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have every error of ``app`` answered with problem details, WebSockets that are not opened included."""
    app.router.default = _nowhere
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(WebSocketRequestValidationError, _validation)
    app.add_exception_handler(VideoEventsError, _known)
    app.add_exception_handler(Exception, _unknown)


async def _nowhere(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(HTTPStatus.NOT_FOUND)


async def _http(request: HTTPConnection, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail if error.detail != phrase else None
    is_other = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    headers = {"Allow": _allowed(request)} if is_other else error.headers
    return problem(error.status_code, detail, headers=headers)


def _allowed(request: HTTPConnection) -> str:
    """All methods of a path, not only those of the first route that has it; where there is GET, HEAD too."""
    found = {
        method.value
        for method in HTTPMethod
        for route in request.app.routes
        if route.matches({**request.scope, "method": method.value})[0] is Match.FULL
    }
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))


async def _validation(request: HTTPConnection, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    as_bytes = any(mistake["loc"] == ("body",) and mistake["type"] != "missing" for mistake in error.errors())
    if as_bytes and not kind.endswith("json"):
        detail = (
            f"the body is of {kind or 'no type'}; send JSON with the header Content-Type: application/json"
        )
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    mistakes = [
        {"where": ".".join(str(part) for part in mistake["loc"]), "what": mistake["msg"]}
        for mistake in error.errors()
    ]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the request does not fit", errors=mistakes)


async def _known(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OverloadedError):
        headers = {"Retry-After": RETRY_SECONDS} if error.waiting_helps else None
        return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers, **error.figures)
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            headers = {"Retry-After": RETRY_SECONDS} if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
            if not isinstance(error, StorageError):
                return problem(status, str(error), headers=headers)
            status = HTTPStatus.INSUFFICIENT_STORAGE if _is_full(error.__cause__) else status
            return problem(status, _without_places(request, error), headers=headers)
    raise error


def _is_full(cause: BaseException | None) -> bool:
    """Whether storage has failed for want of space: on the disk, or in the quota of its user."""
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _without_places(request: HTTPConnection, error: StorageError) -> str:
    """What the sender is told of an error that may name files; the log has the rest."""
    logger.warning("%s cannot be answered: %s", request.url.path, error)
    verb = "had" if isinstance(error, UnavailableError) else "stored"
    return f"what this needs cannot be {verb} just now; the log of the service says why"


async def _unknown(_request: Request, _error: Exception) -> JSONResponse:
    """The server logs the error, which goes on to it in any case."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed to answer this; its log says why")
