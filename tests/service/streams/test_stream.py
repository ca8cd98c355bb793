"""What a stream's process tells arrives: in the log, in the status, with subscribers."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service import event_log
from service.database import Database
from service.errors import StorageError
from service.event_log import EventLog, EventQuery
from service.streams import store
from service.streams.messages import (
    Announced,
    Labelled,
    Measured,
    Opened,
    Pace,
    Picture,
    Recorded,
    Standing,
    Told,
    Watch,
    decode,
    encode,
)
from service.streams.records import StreamDefinition, StreamOptions
from service.streams.store import StreamStore
from service.streams.stream import Stream
from service.supervisor import ChildState, ChildStatus
from service.types import EndReason, Event, EventMessage, EventPhase, StreamState
from tests.service.streams.cameras import wait_until

EVENT = Event("door.abc-000001", "door.abc", "red", 1.0, None, 0.9, 0.8, 0.5)
TOLD: list[Told] = [
    Standing(StreamState.LOST, "it is gone", 3, 1.5),
    Opened(640, 360, 25.0, True),
    Labelled(7, 0.28, 1e9, 0.1, "red", 0.9, (("red", 0.9), ("blue", 0.1)), 2, None),
    Announced(EventMessage(1, EventPhase.STARTED, EVENT), 1e9),
    Announced(
        EventMessage(2, EventPhase.ENDED, replace(EVENT, end_pts=3.0, end_reason=EndReason.BLIND)), None
    ),
    Measured(25.0, 5.0, None, 10, 3, 5, 2, 0.8, 0.1, 0.1),
    Recorded("door.abc-000001", "door.avi"),
    Picture(b"\xff\xd8\x00[\xff\xd9"),
    Watch(True),
    Pace(2.5),
    Pace(None),
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "test.db", event_log.SCHEMA + store.SCHEMA) as opened:
        yield opened


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


@pytest.fixture
def stream(log: EventLog) -> Iterator[Stream]:
    loop = asyncio.new_event_loop()
    made = Stream(
        StreamDefinition(name="door", source="0"),
        log,
        "colours 1",
        loop,
    )
    yield made
    made.close(5.0)
    loop.close()


def phases(log: EventLog) -> list[tuple[str, str, EndReason | None]]:
    page = log.query(EventQuery()).result()
    return [
        (logged.stream, logged.message.phase.value, logged.message.event.end_reason)
        for logged in page.messages
    ]


@pytest.mark.parametrize("told", TOLD, ids=lambda told: type(told).__name__)
def test_messages_arrive_as_they_were_sent(told: Told) -> None:
    assert decode(encode(told)) == told


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'["Nothing", {}]', b'["Standing", {"state": "odd"}]'])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(data)


def test_what_the_process_tells_is_known(stream: Stream, log: EventLog) -> None:
    """Also that an event left open by a process which died is ended in the log."""
    with stream.open_channel() as process:
        assert decode(process.recv_bytes()) == Watch(False)
        for told in (TOLD[1], Standing(StreamState.LIVE), TOLD[2], TOLD[3], TOLD[5], TOLD[7]):
            process.send_bytes(encode(told))
        wait_until(lambda: stream.pictures.newest)
        status = stream.status
        assert (status.state, status.label, status.dropped, status.width) == (StreamState.LIVE, "red", 3, 640)
        assert stream.last_label is not None
        assert stream.last_label.labelled == TOLD[2]
        wait_until(lambda: phases(log) == [("door", "started", None)])
    wait_until(lambda: len(phases(log)) == 2)
    assert phases(log)[1] == ("door", "ended", EndReason.SOURCE_LOST)
    assert stream.pictures.newest is None
    wait_until(lambda: log.coverage("door", 0, 1e12).result())
    (hour,) = log.coverage("door", 0, 1e12).result()
    assert (hour.watched, hour.dropped, hour.blind) == pytest.approx((0.8, 0.1, 0.1))


def test_a_dead_process_is_not_shown_as_alive(stream: Stream, log: EventLog) -> None:
    """What it had told of its state may be heard only after its death was noticed; its events still count."""
    process = stream.open_channel()
    stream.hear_supervisor(ChildStatus("stream door", ChildState.WAITING, reason="killed by SIGKILL"))
    with process:
        process.send_bytes(encode(Standing(StreamState.LIVE)))
        process.send_bytes(encode(TOLD[3]))
        wait_until(lambda: phases(log))
    assert stream.status.state is StreamState.LOST


def test_the_next_process_is_heard_after_the_last_one(stream: Stream, log: EventLog) -> None:
    """Otherwise the end of what the first has left open could come behind what the second begins."""
    first = stream.open_channel()
    first.send_bytes(encode(TOLD[3]))
    second = stream.open_channel()
    second.send_bytes(encode(Announced(EventMessage(1, EventPhase.STARTED, replace(EVENT, id="two")), None)))
    wait_until(lambda: len(phases(log)) == 1)
    first.close()
    wait_until(lambda: len(phases(log)) == 3)
    second.close()
    wait_until(lambda: len(phases(log)) == 4)
    assert [phase for _, phase, _ in phases(log)] == ["started", "ended", "started", "ended"]


def test_a_thread_that_cannot_be_had_once_leaves_no_stream_deaf(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor starts another process later, which is heard."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            stream.open_channel()
    with stream.open_channel() as process:
        process.send_bytes(encode(Standing(StreamState.LIVE)))
        wait_until(lambda: stream.status.state is StreamState.LIVE)


def test_no_event_is_lost_to_a_full_disk(stream: Stream, log: EventLog, monkeypatch) -> None:
    """It is stored as soon as that is possible again."""
    append, failures = log.append, iter(range(2))

    def fail(*args, **options):
        if next(failures, None) is not None:
            raise StorageError("the disk is full")
        return append(*args, **options)

    monkeypatch.setattr(log, "append", fail)
    with stream.open_channel() as process:
        process.send_bytes(encode(TOLD[3]))
        wait_until(lambda: phases(log))


def test_a_process_that_goes_astray_harms_nobody(stream: Stream) -> None:
    with stream.open_channel() as process:
        process.send_bytes(encode(Standing(StreamState.LIVE)))
        process.send_bytes(b"nonsense")
        wait_until(lambda: stream.status.state is StreamState.LIVE)
    with stream.open_channel() as process:
        process.send_bytes(encode(Standing(StreamState.BLIND)))
        wait_until(lambda: stream.status.state is StreamState.BLIND)


def test_a_process_that_does_not_read_holds_up_nobody(stream: Stream) -> None:
    """Viewers that come and go, and paces, wait for no process; it is told what is wanted once it reads."""

    def come_and_go() -> None:
        for number in range(1000):
            stream.pictures._count(+1)
            stream.grant(1000.0, 1.0, float(number))
            stream.pictures._count(-1)
        stream.pictures._count(+1)

    with stream.open_channel() as process:
        coming = threading.Thread(target=come_and_go, daemon=True)
        coming.start()
        coming.join(10)
        assert not coming.is_alive()
        heard = []
        while not {Watch(True), Pace(999.0)} <= set(heard[-2:]):
            process.send_bytes(encode(TOLD[1]))
            assert process.poll(10)
            heard.append(decode(process.recv_bytes()))


def test_a_rate_that_changes_is_no_change_of_state(stream: Stream) -> None:
    """Rates change by the second on a busy machine; subscribers to labels hear of states."""
    stream.grant(25.0, 2.0, 2.0)
    assert (stream.status.asked_rate, stream.status.granted_rate, stream.pace) == (25.0, 2.0, 2.0)
    assert stream.updates.newest is None
    stream._hear(Standing(StreamState.LIVE))
    assert stream.updates.newest == stream.status


def test_definitions_are_remembered(database: Database) -> None:
    definitions = StreamStore(database)
    options = StreamOptions(labels=("red",), crop=(0.0, 0.1, 0.5, 0.5), rate=2.0)
    new = StreamDefinition(name="b", source="rtsp://u:p@h/1", options=options, created_at=2.0)
    old = StreamDefinition(name="a", source="rtsp://h/2", created_at=1.0)
    for definition in (new, old):
        definitions.save(definition)
    assert definitions.load() == (old, new)
    definitions.delete("a")
    assert definitions.load() == (new,)


def test_no_label_stands_while_the_network_is_away(stream: Stream) -> None:
    """What was seen before says nothing of what is seen now."""
    stream._hear(Labelled(7, 0.28, 1e9, 0.1, "red", 0.9, (("red", 0.9),), 2, None))
    assert stream.status.label == "red"
    stream._hear(Standing(StreamState.LIVE, "waiting for inference", 1, None))
    assert (stream.status.label, stream.status.confidence) == (None, None)


def test_the_time_of_a_state_is_that_at_which_it_began(stream: Stream) -> None:
    """A camera that is tried again and again has been lost since it was lost."""
    stream._hear(Standing(StreamState.LOST, "it is gone", 1, 1.5))
    since = stream.status.since
    stream._hear(Standing(StreamState.LOST, "it is still gone", 2, 1.5))
    assert (stream.status.attempt, stream.status.since) == (2, since)
    stream._hear(Standing(StreamState.LIVE))
    assert stream.status.since > since
