"""What every request passes through: Host and Origin, HEAD, headers, CORS, figures, the access log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.api.auth import Gatekeeper
from service.api.links import ROOT
from service.api.metrics import Metrics
from service.api.problems import problem

MAX_BODY: Final = 64 << 10
"""Bytes of a request's body, uploads excepted."""
TOO_LARGE: Final = f"at most {MAX_BODY} bytes are taken here"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
SOCKET: Final = "WS"
"""Stands for the method of a WebSocket, in figures and in the log."""
UPLOADS: Final = re.compile(r"/clips|/models/[^/]+/labels")
"""Paths that take more, within limits of their own, also of the time without any byte."""
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Asked by whoever keeps the service running, under whatever name it has for the machine."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

FOREIGN_METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
FOREIGN_HEADERS: Final = ("Authorization", "If-Range", "Range")
"""What foreign pages that may call may send, besides what CORS lets them send in any case."""
SHOWN_HEADERS: Final = (
    *("Accept-Ranges", "Allow", "Content-Disposition", "Content-Range", "Date", "ETag", "Location"),
    *("Retry-After", "WWW-Authenticate"),
)
"""What they may read of an answer, likewise."""

access = logging.getLogger("service.access")


class Guard:
    """ASGI middleware; plain, because Starlette's own would hold bodies back."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper, metrics: Metrics, body_seconds: float) -> None:
        """``body_seconds``: for a whole body, uploads excepted."""
        self._app = app
        self._sharing = CORSMiddleware(
            self._admit,
            gatekeeper.origins,
            FOREIGN_METHODS,
            FOREIGN_HEADERS,
            expose_headers=SHOWN_HEADERS,
        )
        self._body_seconds = body_seconds
        self._gatekeeper = gatekeeper
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        ROOT.set(scope.get("root_path", ""))
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        began = time.monotonic()
        status, verb = 0, scope["method"]
        if verb == "HEAD":
            scope = {**scope, "method": "GET"}  # a copy: the server itself has to know that no body follows

        async def send_more(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own.setdefault(name, value)
                own.setdefault("Cache-Control", "no-store")
                await send(message)
                if verb == "HEAD":  # at once, as there are pictures that never end
                    await send({"type": "http.response.body"})
            elif verb != "HEAD":
                await send(message)

        received, is_complete = 0, False
        due = asyncio.get_running_loop().time() + self._body_seconds

        async def receive_some() -> Message:
            nonlocal received, is_complete
            try:
                async with asyncio.timeout_at(None if is_complete else due):
                    message = await receive()
            except TimeoutError:
                if not status:
                    raise HTTPException(
                        HTTPStatus.REQUEST_TIMEOUT,
                        f"the request was not complete after {self._body_seconds:g} s",
                        {"Connection": "close"},
                    ) from None
                message = await receive()  # the answer goes out already; what is waited for is its end
            is_complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > MAX_BODY:  # one that gave no length
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
            return message

        is_upload = UPLOADS.fullmatch(_path(scope))
        app = self._sharing if self._gatekeeper.invites(Headers(scope=scope)) else self._admit
        try:
            await app(scope, receive if is_upload else receive_some, send_more)
        finally:
            self._note(scope, verb, status, time.monotonic() - began)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(scope) or self._app)(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Noted as soon as it is taken or refused; what comes then may go on for days."""
        began = time.monotonic()
        is_noted = False

        def note(status: int) -> None:
            nonlocal is_noted
            if not is_noted:
                is_noted = True
                self._note(scope, SOCKET, status, time.monotonic() - began)

        async def send_more(message: Message) -> None:
            match message["type"]:
                case "websocket.accept":
                    note(HTTPStatus.SWITCHING_PROTOCOLS)
                case "websocket.http.response.start":
                    note(message["status"])
                case "websocket.close":  # what the server then answers, if nothing was answered yet
                    note(HTTPStatus.FORBIDDEN)
            await send(message)

        try:
            if refusal := self._refusal(scope):
                await WebSocket(scope, receive, send_more).send_denial_response(refusal)
            else:
                await self._app(scope, receive, send_more)
        finally:
            note(0)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), _path(scope)
        if path not in PROBES and (reason := self._gatekeeper.refusal(headers)):
            return problem(HTTPStatus.FORBIDDEN, reason)
        length = headers.get("content-length", "0")
        if not UPLOADS.fullmatch(path) and length.isdecimal() and int(length) > MAX_BODY:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        return None

    def _note(self, scope: Scope, verb: str, status: int, seconds: float) -> None:
        route, path = getattr(scope.get("route"), "path", "(none)"), _path(scope)
        is_socket = scope["type"] == "websocket"
        method = verb if is_socket or verb in METHODS else "other"  # a label must have few values
        self._metrics.requests.labels(method, route, str(status)).inc()
        if not is_socket:
            self._metrics.seconds.labels(route).observe(seconds)
        if route == "/clips" and verb == "POST" and status >= HTTPStatus.BAD_REQUEST:
            self._metrics.refused.labels(str(status)).inc()
        # Without the query: there may be a token in it.
        facts = {"method": verb, "path": path, "status": status, "seconds": seconds}
        access.info("%s %s %d %.0f ms", verb, path, status, seconds * 1000, extra=facts)


def _path(scope: Scope) -> str:
    """As the routes have it: without the path that a proxy serves this under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
