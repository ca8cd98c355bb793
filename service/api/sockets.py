"""What all WebSockets have in common: sending until the client has left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from service.errors import VideoEventsError

TRY_AGAIN_LATER: Final = 1013
"""The code (of IANA's registry) with which a subscription ends that the service could not go on with."""

logger = logging.getLogger(__name__)


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
        if isinstance(result, VideoEventsError):
            logger.warning("a subscription is broken off: %s", result)
            with suppress(WebSocketDisconnect):
                await socket.close(TRY_AGAIN_LATER)
        elif isinstance(result, Exception) and not isinstance(result, (WebSocketDisconnect, OSError)):
            raise result


async def _until_gone(socket: WebSocket) -> None:
    """Read, and ignore, what the client says; returns when it has left."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
