from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from service.errors import StorageError
from service.event_log import EventLog, EventQuery
from service.feed import RING_SIZE, Gap
from tests.service.api.conftest import Serve, Served, until
from tests.service.test_event_log import message


def append(served: Served, stream: str, numbers: range, label: str = "tennis", model: str = "m") -> None:
    futures = [served.services.log.append([message(stream, n, label=label)], model=model) for n in numbers]
    for future in futures:
        future.result()


def receive(socket: Any, count: int) -> list[dict[str, Any]]:
    return [json.loads(socket.recv(timeout=20)) for _ in range(count)]


def positions(messages: list[dict[str, Any]]) -> list[int]:
    return [one["position"] for one in messages]


def test_resume_without_hole_or_double(served: Served) -> None:
    """A subscriber that comes back with its last position gets what it missed, then what happens next."""
    append(served, "door", range(5))
    with connect(served.socket_url("?after=2")) as socket:
        assert receive(socket, 1) == [{"type": "hello", "position": 2, "newest": 5}]
        assert positions(receive(socket, 3)) == [3, 4, 5]
        append(served, "door", range(5, 8))
        assert positions(receive(socket, 3)) == [6, 7, 8]
    append(served, "door", range(8, 10))
    with connect(served.socket_url("?after=8")) as socket:
        assert positions(receive(socket, 3)[1:]) == [9, 10]


def test_without_after_only_what_comes(served: Served) -> None:
    """A new subscriber hears the present, and is told from where."""
    append(served, "door", range(3))
    with connect(served.socket_url()) as socket:
        assert receive(socket, 1) == [{"type": "hello", "position": 3, "newest": 3}]
        append(served, "door", range(1))
        (first,) = receive(socket, 1)
    assert (first["type"], first["position"], first["seq"], first["phase"]) == ("event", 4, 4, "ended")
    assert first["event"]["stream"] == "door"


def test_filters(served: Served) -> None:
    """Stream and label choose, from the log and live alike, and over HTTP in the same words."""
    for _ in range(2):
        append(served, "door", range(2), "chess")
        append(served, "door", range(2), "tennis")
        append(served, "hall", range(2), "tennis")
    with connect(served.socket_url("?after=0&stream=door&label=tennis")) as socket:
        assert positions(receive(socket, 5)[1:]) == [3, 4, 9, 10]
        append(served, "hall", range(1))
        append(served, "door", range(1))
        assert positions(receive(socket, 1)) == [14]
    query = {"stream": "door", "label": "tennis", "after": "3", "limit": "2"}
    page = served.client.get("/events", params=query).json()
    assert positions(page["messages"]) == [4, 9]
    assert (page["next"], page["newest"]) == (9, 14)
    assert served.client.get("/events", params={"to": "1000"}).json()["messages"] == []


def test_gap_is_told(serve: Serve) -> None:
    """What retention has deleted is a gap with both its ends, and so is a position from elsewhere."""
    with serve() as served:
        append(served, "door", range(4))
        served.services.log.forget_before(time.time() + 1)
    with serve() as served:
        append(served, "door", range(4, 5))
        with connect(served.socket_url("?after=1")) as socket:
            _, gap, event = receive(socket, 3)
            assert gap == {"type": "gap", "after": 1, "until": 4, "reason": "forgotten"}
            assert event["position"] == 5
        with connect(served.socket_url("?after=99")) as socket:
            told = {"type": "gap", "after": 99, "until": 5, "reason": "unknown_position"}
            assert receive(socket, 2)[1] == told
            append(served, "door", range(5, 6))
            assert positions(receive(socket, 1)) == [6]


def test_what_comes_while_a_gap_is_told_is_not_lost(served: Served) -> None:
    """A client that is slow to take the gap hears all that follows it."""
    append(served, "door", range(1))

    async def heard() -> list[int]:
        following = served.services.feed.follow(EventQuery(after=99))
        gap = await anext(following)
        assert isinstance(gap, Gap)
        append(served, "door", range(1, 3))
        messages = await anext(following)
        assert not isinstance(messages, Gap)
        return [gap.until, *(message.position for message in messages)]

    assert asyncio.run(heard()) == [1, 2, 3]


def test_slow_client_loses_nothing_and_holds_up_nobody(served: Served) -> None:
    """One that does not read while far more than the ring goes by gets it all later; others get it now."""
    count = 3 * RING_SIZE
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the kernels keep less than the ring
        narrow.connect(("127.0.0.1", served.client.base_url.port or 0))
        with (
            connect(served.socket_url("?after=0"), max_queue=1, sock=narrow, compression=None) as slow,
            connect(served.socket_url("?after=0")) as quick,
        ):
            writer = threading.Thread(
                target=append, args=(served, "door", range(count)), kwargs={"model": "m" * 4000}
            )
            writer.start()
            assert positions(receive(quick, count + 1)[1:]) == list(range(1, count + 1))
            writer.join()
            catch_ups = served.services.feed.catch_ups
            assert positions(receive(slow, count + 1)[1:]) == list(range(1, count + 1))
            assert served.services.feed.catch_ups > catch_ups


def test_restart_does_not_break_the_thread(serve: Serve) -> None:
    """Positions go on after a restart: who resumes gets exactly the log."""
    with serve() as served:
        append(served, "door", range(3))
        with connect(served.socket_url("?after=0")) as socket:
            seen = receive(socket, 3)[1:]
    with serve() as served:
        append(served, "door", range(3, 5))
        with connect(served.socket_url(f"?after={seen[-1]['position']}")) as socket:
            seen += receive(socket, 4)[1:]
        log = served.services.log.query(EventQuery()).result().messages
        assert positions(seen) == [one.position for one in log] == [1, 2, 3, 4, 5]


def test_shutdown_tells_subscribers(serve: Serve) -> None:
    """A service that stops closes the connection properly, so that clients know to come back."""
    with ExitStack() as stack:
        with serve() as served:
            socket = stack.enter_context(connect(served.socket_url()))
            receive(socket, 1)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in (1001, 1012)


def test_a_log_that_cannot_be_read_ends_the_subscription(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told to come again, not left with a broken connection."""
    append(served, "door", range(1))
    served.services.feed._ring.clear()

    def fail(log: EventLog, query: EventQuery) -> Any:
        raise StorageError("the database could not be read")

    monkeypatch.setattr(EventLog, "query", fail)
    with connect(served.socket_url("?after=0")) as socket:
        receive(socket, 1)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


def test_subscribers_are_counted_and_limited(serve: Serve) -> None:
    """One more than allowed is refused with a reason; who leaves makes room."""
    with serve(max_subscribers=1) as served:
        with connect(served.socket_url()) as socket:
            receive(socket, 1)
            until(lambda: served.services.subscribers.taken == 1)
            with pytest.raises(InvalidStatus) as refused:
                connect(served.socket_url())
            assert refused.value.response.status_code == 503
            assert b"subscribers" in (refused.value.response.body or b"")
        until(lambda: served.services.subscribers.taken == 0)
        with connect(served.socket_url()) as socket:
            receive(socket, 1)


def test_feed_under_many_writers(served: Served) -> None:
    """Subscribers that join while four threads write see every position once, wherever they came in."""

    def subscribe(out: list[list[int]]) -> None:
        with connect(served.socket_url("?after=0")) as socket:
            out.append(positions(receive(socket, 401)[1:]))

    seen: list[list[int]] = []
    writers = [threading.Thread(target=append, args=(served, name, range(100))) for name in "abcd"]
    readers = [threading.Thread(target=subscribe, args=(seen,)) for _ in range(4)]
    for one, other in zip(writers, readers, strict=True):
        one.start()
        other.start()
    for thread in (*writers, *readers):
        thread.join()
    assert seen == [list(range(1, 401))] * 4


def test_wrong_parameters_are_refused(served: Served) -> None:
    """A position or time that cannot be is refused before anything is asked or opened."""
    for wrong in ({"after": "-1"}, {"from": "1e257"}, {"to": "nan"}, {"to": "-1"}, {"after": "9" * 30}):
        assert served.client.get("/events", params=wrong).status_code == 422


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/events?after=-1", 422, "query.after"),
        ("/streams/demo/labels?mode=x", 422, "query.mode"),
        ("/streams/demo/labels?rate=0", 422, "query.rate"),
        ("/streams/demo/labels", 404, "no stream"),
        ("/nowhere", 404, "Not Found"),
    ],
)
def test_a_refused_handshake_says_why(serve: Serve, path: str, status: int, word: str) -> None:
    """In problem details, and without a token no more than that there is none."""
    token = "t" * 20
    with serve(tokens=[{"name": "me", "token": token}]) as served:
        url = served.url.replace("http", "ws") + path
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers={"Authorization": f"Bearer {token}"})
        answer = refused.value.response
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert word in (answer.body or b"").decode()
        with pytest.raises(InvalidStatus) as refused:
            connect(url)
        assert refused.value.response.status_code == (404 if path == "/nowhere" else 401)
