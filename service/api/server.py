"""Runs the app under uvicorn: binds first, so that a port in use is told in one line, then serves."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from service import logs
from service.api.app import create_app
from service.api.connections import (
    BACKLOG,
    KEEP_ALIVE_SECONDS,
    MAX_HEAD,
    BoundedSocket,
    allow_descriptors,
    bounded_protocol,
)
from service.api.settings import ServeSettings
from service.api.state import Services
from service.errors import ConfigurationError
from service.lock import only_one
from service.types import ServedModel

GRACE_SECONDS: Final = 4
"""For requests in progress after the signal to stop; then 5 s at most for the clips' processes."""
PING_SECONDS: Final = 20.0
NO_FAULT: Final = ("completing handshake", "Invalid UTF-8 sequence")
"""In what uvicorn calls errors: a refused WebSocket, and rubbish that a client sends."""
MAX_MESSAGE: Final = 16 << 10
"""Bytes of a WebSocket message from a client."""

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Runs the app's own start and end around uvicorn's, which would bury why it cannot start in the log."""

    def __init__(self, app: FastAPI, **settings: Any) -> None:
        self._app = app
        super().__init__(uvicorn.Config(app, lifespan="off", **settings))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with self._app.router.lifespan_context(self._app):
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logger.info("stopping")
        services: Services = self._app.state.services
        services.stop()
        await super().shutdown(sockets)


def make_server(settings: ServeSettings, model: ServedModel) -> Server:
    return Server(
        create_app(settings, model),
        http=bounded_protocol(settings.head_seconds),
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=min(BACKLOG, settings.max_connections),
        ws=BoundedSocket,
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=GRACE_SECONDS,
        log_config=None,
        access_log=False,  # it would write tokens in queries; ``guard`` has one that does not
        server_header=False,
        proxy_headers=False,
        root_path=settings.root_path,
    )


def bind(host: str, port: int) -> socket.socket:
    """``::`` is every address, those of IPv4 too. Raises ``ConfigurationError`` where that cannot be."""
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"port {port} of {host} is in use; choose another --port") from error
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def serve(settings: ServeSettings, model: ServedModel) -> None:
    """Serve until SIGINT or SIGTERM. Raises ``VideoEventsError`` where it cannot start."""
    os.umask(0o077)  # the data holds passwords of cameras, and what they saw
    logs.name_process("serve")
    logs.set_up(logs.LogSettings(settings.log_level.upper(), settings.log_format))
    _quiet_libraries()
    room = allow_descriptors(settings.max_connections, settings.max_streams)
    settings = settings.model_copy(update={"max_connections": room})
    with _alone_in(settings.data), bind(settings.host, settings.port) as listener:
        server = make_server(settings, model)
        _stop_on_signals(server)
        server.run(sockets=[listener])


def _quiet_libraries() -> None:
    """Keep from the log what tokens are in, and what is no mistake."""
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.WARNING)  # below, it notes the whole address of every WebSocket
    uvicorn_log.addFilter(lambda record: not any(words in record.msg for words in NO_FAULT))
    # A line for each message to a subscriber who broke off while many were on their way.
    logging.getLogger("asyncio").addFilter(lambda record: record.msg != "socket.send() raised exception.")


@contextmanager
def _alone_in(data: Path) -> Iterator[None]:
    """Another service would end the events of the first, and work on its clips.

    Raises ConfigurationError where there is one, or the folder cannot be used.
    """
    taken = ConfigurationError(f"another service works in the folder {data}; choose another --data")
    with ExitStack() as stack:
        try:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(only_one(data, taken))
        except OSError as error:
            raise ConfigurationError(f"cannot use the folder {data}: {error.strerror}") from error
        yield


def _stop_on_signals(server: uvicorn.Server) -> None:
    """Make a stop on request a success.

    uvicorn handles the signals itself, and raises them once more for the handlers that it found.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
