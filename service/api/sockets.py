"""What all WebSockets have in common: who may subscribe, and sending until the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from fastapi import WebSocket
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from service.api.auth import check
from service.api.problems import problem
from service.api.settings import Scope
from service.api.state import Services


def refusal(socket: WebSocket, serving: Services) -> JSONResponse | None:
    """Why this client may not subscribe, if so."""
    try:
        check(socket, Scope.VIEW)
    except HTTPException as error:
        return problem(error.status_code, error.detail, headers=error.headers)
    if serving.subscribers() >= serving.settings.max_subscribers:
        return problem(503, "as many subscribers listen already as this service takes")
    return None


async def send_until_gone(socket: WebSocket, sender: Coroutine[None, None, None]) -> None:
    """Run ``sender`` until it or the client comes to an end; what the client says is not listened to."""
    sending = asyncio.create_task(sender)
    leaving = asyncio.create_task(_until_gone(socket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        results = await asyncio.gather(sending, leaving, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, (WebSocketDisconnect, OSError)):
            raise result


async def _until_gone(socket: WebSocket) -> None:
    """Read, and ignore, what the client says; returns when it has left."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
