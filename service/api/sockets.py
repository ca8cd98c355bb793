"""What all WebSockets have in common: how many may subscribe, and sending until the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from fastapi import WebSocket
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect

from service.api.state import Services


def check_room(serving: Services) -> None:
    """Raise the ``HTTPException`` for one subscriber too many."""
    if serving.subscribers() >= serving.settings.max_subscribers:
        raise HTTPException(503, "as many subscribers listen already as this service takes")


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
