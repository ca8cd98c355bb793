"""Clients that say nothing, or too little at a time, over real sockets."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.sync.client import connect

from service.api import connections, lingering, server
from service.api.connections import MAX_HEAD, BoundedSocket, allow_descriptors
from tests.service.api.conftest import OPTIONS, Serve, Served, make_clip, until
from tests.service.test_event_log import message

HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PATIENCE = 15.0


def dial(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.client.base_url.port or 0), PATIENCE)


def has_news(one: socket.socket, seconds: float = 0.0) -> bool:
    """Whether there is something to read, or it is closed; ``poll``, as there are many descriptors."""
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def is_closed(one: socket.socket) -> bool:
    """Whether the service has closed it; what came before is thrown away."""
    try:
        while has_news(one):
            if not one.recv(65536):
                return True
    except OSError:
        return True
    return False


def is_refused(one: socket.socket) -> bool:
    """Whether the service takes nothing more, though what it has sent was not read."""
    try:
        one.send(b"x", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def answers(served: Served) -> bool:
    with httpx.Client(base_url=served.url, timeout=30) as fresh:
        return fresh.get("/healthz").status_code == 200


@contextlib.contextmanager
def dripping(sockets: list[socket.socket], drop: bytes = b"x") -> Iterator[None]:
    """Each gets one byte ten times a second, in which nothing ever ends."""
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.1):
            for one in sockets:
                with contextlib.suppress(OSError):
                    one.sendall(drop)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_silent_and_dripping_clients_keep_nobody_out(serve: Serve, clip: Path) -> None:
    """650 connections that never finish a head: others are answered, a WebSocket and an upload stay."""
    allow_descriptors(2000, 0)
    with serve(head_seconds=4.0) as served, ExitStack() as stack:
        listener = stack.enter_context(connect(served.socket_url()))
        assert json.loads(listener.recv())["type"] == "hello"
        upload = stack.enter_context(dial(served))
        body = clip.read_bytes()
        fields = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in OPTIONS.items()
        )
        form = (
            fields.encode()
            + b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.avi"\r\n\r\n'
            + body
            + b"\r\n--x--\r\n"
        )
        upload.sendall(
            b"POST /clips HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            + f"Content-Length: {len(form)}\r\n\r\n".encode()
            + form[:1000]
        )
        began = time.monotonic()
        drips = [stack.enter_context(dial(served)) for _ in range(50)]
        for one in drips:
            one.sendall(HEAD + b"X-Slow: ")
        with dripping(drips):
            silent = [stack.enter_context(dial(served)) for _ in range(600)]
            while time.monotonic() - began < 4.5:
                assert answers(served)
            until(lambda: all(is_closed(one) for one in drips + silent), PATIENCE)
        upload.sendall(form[1000:])
        assert b" 202 " in upload.recv(4096)
        assert json.loads(listener.recv(60))["type"] == "event"
        assert answers(served)


def test_a_head_has_its_time_and_no_more(serve: Serve) -> None:
    """A dripping head is closed in time, also the second one of a connection; a slow honest one is not."""
    with serve(head_seconds=1.0) as served:
        for first in (b"", HEAD + b"\r\n"):
            began = time.monotonic()
            with dial(served) as one:
                one.sendall(first)
                if first:
                    assert b" 200 " in one.recv(4096)
                one.sendall(HEAD + b"X-Slow: ")
                with dripping([one]):
                    until(lambda: is_closed(one), PATIENCE)
                assert time.monotonic() - began >= 1.0
        with dial(served) as one:
            for part in (HEAD[:10], HEAD[10:], b"\r\n"):
                one.sendall(part)
                assert not has_news(one, 0.1) or part == b"\r\n"
            assert b" 200 " in one.recv(4096)


def test_the_oldest_unfinished_head_makes_room(serve: Serve) -> None:
    """At the limit who has waited longest goes, who was heard last stays, and nobody gets a 503."""
    with serve(max_connections=8, head_seconds=60.0) as served, ExitStack() as stack:
        silent = [stack.enter_context(dial(served)) for _ in range(20)]
        until(lambda: sum(is_closed(one) for one in silent) == 13, PATIENCE)
        assert [is_closed(one) for one in silent] == [True] * 13 + [False] * 7
        assert answers(served)


@pytest.mark.parametrize(
    ("soft", "hard", "streams", "raised", "room", "told"),
    [
        (1024, 1 << 20, 64, 3328, 512, ""),
        (1024, resource.RLIM_INFINITY, 64, 3328, 512, ""),
        (1024, 1 << 20, 1000, 7072, 512, ""),
        (1024, 4096, 1000, 4096, 512, "room for 512 and 341"),
        (256, 256, 64, 256, 85, "room for 85 and 21"),
    ],
)
def test_connections_and_streams_are_no_more_than_files_that_may_be_open(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    soft: int,
    hard: int,
    streams: int,
    raised: int,
    room: int,
    told: str,
) -> None:
    """Otherwise idle clients would leave no descriptor for anything else; the operator is told."""
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, wanted: limits.append(wanted))
    assert allow_descriptors(512, streams) == room
    assert limits == [(raised, hard)]
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


def test_a_body_has_its_time_too(serve: Serve) -> None:
    """A small body that drips is answered with 408; one behind an answer does not keep the connection."""
    with serve(head_seconds=0.5) as served:
        for call, status in ((b"POST /streams", b" 408 "), (b"GET /healthz", b" 200 ")):
            with dial(served) as one:
                one.sendall(
                    call + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 60000\r\n\r\n"
                )
                with dripping([one], b" "):
                    assert status in one.recv(4096)
                    until(lambda: is_closed(one), PATIENCE)


@pytest.mark.parametrize(("call", "status"), [(b"POST /clips", b" 415 "), (b"POST /streams", b" 413 ")])
def test_an_answer_before_the_end_of_a_body_is_not_lost(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, call: bytes, status: bytes
) -> None:
    """Who sends on for a moment finds no connection that is reset: proxies would say 502 to their client."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", PATIENCE)
    with serve() as served, dial(served) as one:
        one.sendall(
            call + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9000000\r\n\r\n"
        )
        assert has_news(one, PATIENCE)
        for _ in range(9):
            one.sendall(bytes(1_000_000))
        answer = b"".join(iter(lambda: one.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status in head
    assert json.loads(body)


def test_who_sends_on_after_the_answer_is_let_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a body is waited for a moment only, however it comes."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.2)
    with serve() as served, dial(served) as one:
        one.sendall(
            b"POST /clips HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 9000000\r\n\r\n"
        )
        with dripping([one]):
            assert b" 415 " in one.recv(4096)
            until(lambda: is_closed(one), PATIENCE)


@pytest.mark.parametrize("begin", [b"GET /", HEAD + b"X-Long: ", b""], ids=["line", "header", "nothing"])
def test_a_head_without_an_end_costs_no_memory(served: Served, begin: bytes) -> None:
    """What does not end is refused after a few bytes."""
    with dial(served) as one:
        one.sendall(begin)
        sent = 0
        with contextlib.suppress(OSError):
            while not has_news(one, 0.01):
                assert sent < 20 * MAX_HEAD
                sent += one.send(b"a" * 4096)
        assert re.match(rb"HTTP/1.1 4(00|31) ", one.recv(4096))


def test_live_pictures_outlast_the_time_of_a_head(serve: Serve, tmp_path: Path) -> None:
    """What a complete head has asked for goes on for as long as it is read."""
    film = make_clip(tmp_path / "film.avi", ["red", "blue"] * 300)
    with (
        serve(head_seconds=0.5, streams={"film": {"source": str(film), "window": 4}}) as served,
        served.client.stream("GET", "/streams/film/live.mjpeg") as answer,
    ):
        began = None
        for _ in answer.iter_raw():
            began = began or time.monotonic()
            if time.monotonic() - began > 2:
                break
        else:
            pytest.fail("the pictures came to an end")


def test_a_client_that_takes_nothing_is_let_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that nobody reads do not keep a connection for ever."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.5)
    with serve(head_seconds=60.0) as served, dial(served) as one:
        one.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 400)
        until(lambda: is_refused(one), 60)
        assert answers(served)


UPGRADE = (
    b" HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
WATCH = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "rest", "welcome"),
    [
        (b"/events?after=0", UPGRADE, b"101"),
        (b"/streams/own/labels", UPGRADE, b"101"),
        (b"/streams/own/live.mjpeg", WATCH, b"200"),
    ],
)
def test_no_more_than_allowed_come_in_together(
    serve: Serve, path: bytes, rest: bytes, welcome: bytes
) -> None:
    """A place is taken at the moment of the check, and given back by whoever goes, however early."""
    streams = {"own": "no-such-file.mp4"}
    with serve(max_subscribers=3, max_viewers=3, streams=streams) as served:
        subscribers, viewers = served.services.subscribers, served.services.viewers

        def asking() -> socket.socket:
            one = dial(served)
            one.sendall(b"GET " + path + rest)
            return one

        def answer(one: socket.socket) -> bytes:
            return one.recv(4096).split()[1]

        def is_welcome() -> bool:
            with asking() as one:
                return answer(one) == welcome

        with ExitStack() as stack:
            crowd = [stack.enter_context(asking()) for _ in range(30)]
            assert sorted(map(answer, crowd)) == [welcome] * 3 + [b"503"] * 27
            assert {subscribers.taken, viewers.taken} == {0, 3}
        for _ in range(30):
            asking().close()
        until(is_welcome)
        until(lambda: subscribers.taken == viewers.taken == 0)


def deaf_subscriber(served: Served) -> socket.socket:
    """Asks for far more than the kernel keeps, and reads nothing of it."""
    log = served.services.log
    log.append([message("door", number) for number in range(2000)], model="m" * 20_000).result()
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", served.client.base_url.port or 0))
    one.sendall(b"GET /events?after=0" + UPGRADE)
    until(lambda: served.services.subscribers.taken == 1)
    return one


def test_a_subscriber_that_stops_reading_loses_its_place(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who answers no ping is gone at once, whatever is still on its way to it."""
    monkeypatch.setattr(server, "PING_SECONDS", 3.0)
    with serve() as served, deaf_subscriber(served):
        until(lambda: served.services.subscribers.taken == 0)


def test_what_is_sent_just_after_the_end_is_no_fault(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A message for a subscriber that is being dropped at that moment leaves no traceback in the log."""
    is_over = threading.Event()

    def end_slowly(socket: BoundedSocket) -> None:
        socket.close_sent = True
        is_over.set()

    monkeypatch.setattr(server, "PING_SECONDS", 0.2)
    monkeypatch.setattr(BoundedSocket, "keepalive_timeout", end_slowly)
    with serve() as served, dial(served) as one:
        one.sendall(b"GET /events" + UPGRADE)
        assert is_over.wait(PATIENCE)
        served.services.log.append([message("door", 1)], model="m").result()
        until(lambda: served.services.subscribers.taken == 0)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_closed_websocket_ends_though_nobody_reads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that says goodbye and takes nothing of what it has asked for does not keep its connection."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.5)
    is_full = threading.Event()
    pause = WebSocketsSansIOProtocol.pause_writing
    monkeypatch.setattr(
        WebSocketsSansIOProtocol, "pause_writing", lambda socket: (is_full.set(), pause(socket))
    )
    with serve() as served, deaf_subscriber(served) as one:
        assert is_full.wait(PATIENCE)
        one.sendall(b"\x88\x80mask")
        until(lambda: served.services.subscribers.taken == 0)
        until(lambda: is_refused(one))


class Wire:
    """Transport, event loop and timer of a protocol, and what it does with them."""

    def __init__(self, unsent: int = 0) -> None:
        self.unsent = unsent
        self.done: list[str] = []

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.done.append("aborted")

    def call_later(self, *_: object) -> Wire:
        self.done.append("waits")
        return self

    def cancel(self) -> None:
        self.done.append("cancelled")


def protocol(wire: Wire) -> Any:
    made: Any = object.__new__(connections.bounded_protocol(1.0))
    made.transport = made.loop = wire
    made.connections = {made}
    return made


@pytest.mark.parametrize(
    ("before", "now", "done"), [(10, 5, "waits"), (10, 10, "aborted"), (5, 10, "aborted"), (10, 0, "aborted")]
)
def test_an_answer_on_its_way_keeps_a_connection_only_while_it_moves(
    before: int, now: int, done: str
) -> None:
    """Who takes something of the last answer has longer for the next head, who takes nothing has not."""
    wire = Wire(now)
    protocol(wire)._head_is_late(before)
    assert wire.done == [done]


@pytest.mark.parametrize("what", ["handle_websocket_upgrade", "connection_lost"])
def test_an_old_stall_ends_nothing_new(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WebSocket does not die of an answer before it that was taken slowly; nor is a lost one waited for."""
    monkeypatch.setattr(H11Protocol, what, lambda *_: None)
    monkeypatch.setattr(H11Protocol, "_unset_keepalive_if_required", lambda _: None)
    wire = Wire()
    stalled = protocol(wire)
    stalled._stall_timer = wire
    getattr(stalled, what)(None)
    assert wire.done == ["cancelled"]
