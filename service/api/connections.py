"""Connections that say nothing, or too little at a time, and the room that they may take."""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_HEAD: Final = 16 << 10
"""Bytes of an unfinished request line with its headers; more is answered with 400."""
KEEP_ALIVE_SECONDS: Final = 5
STALL_SECONDS: Final = 60.0
"""A client that takes nothing of its answer for so long is let go."""
BACKLOG: Final = 512
SPARE_DESCRIPTORS: Final = 2048
"""For files, pipes, cameras and webhooks, besides those of connections and streams."""
STREAM_DESCRIPTORS: Final = 4
"""That a stream takes here: the lines of its process, and to the supervisor."""

logger = logging.getLogger(__name__)


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 in which a request's head has to be complete in time; uvicorn alone waits for ever.

    The time of a head begins with the connection, or with the end of the answer before it. When there are as
    many connections as may be, the one goes that has been without a complete head for longest. What comes
    after a head (bodies, answers, WebSockets, live pictures) takes as long as it does, as long as the client
    reads.
    """

    head_seconds: ClassVar[float]
    idle: ClassVar[dict[BoundedProtocol, None]]
    """Connections of one server without a complete head, the longest ones first."""

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()
        most = self.limit_concurrency
        if (
            most is not None
            and len(self.connections) >= most
            and (oldest := next(iter(self.idle))) is not self
        ):
            oldest.give_up()

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget_head()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._forget_head()
        self._forget_stall()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        self._expect_head()  # first, as the next one may be here already
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._forget_stall()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self.give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_stall()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._forget_stall()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def give_up(self) -> None:
        """Close at once; what the client has not taken yet is not waited for."""
        self._forget_head()
        self.connections.discard(self)  # its place is free from now on
        self.transport.abort()

    def _expect_head(self) -> None:
        self._forget_head()
        self.idle[self] = None
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late, self._unsent())

    def _head_is_late(self, unsent_before: int) -> None:
        unsent = self._unsent()
        if 0 < unsent < unsent_before:  # the last answer is on its way still
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late, unsent)
        else:
            self.give_up()

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def _forget_head(self) -> None:
        self.idle.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_stall(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket that ends when it is closed; uvicorn alone waits for its client to take what was sent.

    Its sender is then told that the client has left; uvicorn alone calls sending a fault of the app.
    """

    _end_timer: asyncio.TimerHandle | None = None

    async def send(self, message: Any) -> None:
        if self.close_sent:  # a moment ago, for want of an answer or of sense
            raise ClientDisconnected
        await super().send(message)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._end_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._end_timer is not None:
            self._end_timer.cancel()


def bounded_protocol(seconds: float) -> type[BoundedProtocol]:
    """The protocol of one server, for uvicorn's ``http``; a head has ``seconds`` to be complete."""

    class Bounded(BoundedProtocol):
        head_seconds = seconds
        idle: ClassVar[dict[BoundedProtocol, None]] = {}

    return Bounded


def allow_descriptors(connections: int, streams: int) -> int:
    """Raise this process's soft limit of open files to what all of them need, as far as it may.

    Returns how many connections there is room for: where the limit stays too low, a third of it, since as
    many again may have been taken in at once before the oldest of them go, or have a file open that they are
    sent. Another third is for streams; what cannot be started is tried again.
    """
    wanted = connections + BACKLOG + SPARE_DESCRIPTORS + STREAM_DESCRIPTORS * streams
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most == wanted:
        return connections
    room = max(1, min(connections, most // 3))
    logger.warning(
        "%d files may be open, %d connections and %d streams may want %d: there is room for %d and %d; raise "
        "the limit (ulimit -n, LimitNOFILE)",
        most,
        connections,
        streams,
        wanted,
        room,
        min(streams, most // 3 // STREAM_DESCRIPTORS),
    )
    return room
