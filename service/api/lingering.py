"""Answers that come before the end of a request's body, such as 413: they have to arrive all the same."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS: Final = 2.0


class Lingering:
    """ASGI middleware that takes the rest of such a body, for ``LINGER_SECONDS`` at most, and throws it away.

    To close a connection with unread bytes resets it (RFC 9112, 9.6), and what was answered may be lost: a
    proxy then tells its client 502.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_complete = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        is_held = False

        async def receive_noted() -> Message:
            nonlocal is_complete
            message = await receive()
            is_complete = not message.get("more_body", False)  # so it is when the client has gone
            return message

        async def send_held(message: Message) -> None:
            nonlocal is_held
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            is_held = is_last and not is_complete
            await send({**message, "more_body": True} if is_held else message)

        await self._app(scope, receive_noted, send_held)
        if is_held:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while not is_complete:
                        await receive_noted()
            await send({"type": "http.response.body"})
