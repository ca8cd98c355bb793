from __future__ import annotations

import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import event_log
from service.database import READERS, Database
from service.errors import StorageError
from service.event_log import (
    HOUR,
    MOST_ROWS,
    SCHEMA,
    Coverage,
    EventLog,
    EventQuery,
    LoggedMessage,
    Page,
    _page,
)
from service.types import EndReason, Event, EventMessage, EventPhase


def message(
    stream: str, number: int, phase: EventPhase = EventPhase.ENDED, label: str = "tennis"
) -> EventMessage:
    ended = phase is EventPhase.ENDED
    event = Event(
        id=f"{stream}-{number:06d}",
        stream=stream,
        label=label,
        start_pts=float(number),
        end_pts=number + 0.5 if ended else None,
        peak_confidence=0.9,
        mean_confidence=0.8,
        detect_delay=0.25,
        end_reason=EndReason.EXIT if ended else None,
    )
    return EventMessage(0, phase, event)


class Clock:
    """Unix time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[EventLog]:
    with Database(tmp_path / "log.db", SCHEMA) as database:
        yield EventLog(database, clock)


def everything(log: EventLog, **query: object) -> list[LoggedMessage]:
    found: list[LoggedMessage] = []
    while True:
        after = found[-1].position if found else 0
        page = log.query(EventQuery(**({"limit": 7, "after": after} | query))).result()  # type: ignore[arg-type]
        if not page.messages or "after" in query:
            return found + list(page.messages)
        found += page.messages


def test_round_trip(log: EventLog, clock: Clock) -> None:
    """What goes in comes out, numbered, with the model and the clock."""
    given_in = [message("a", 1, EventPhase.STARTED), message("b", 1), message("a", 1)]
    logged = log.append(given_in, model="m 1", epoch=5.0).result()
    assert everything(log) == list(logged)
    assert [(one.position, one.message.seq, one.stream) for one in logged] == [
        (1, 1, "a"),
        (2, 1, "b"),
        (3, 2, "a"),
    ]
    assert [one.message.event for one in logged] == [one.event for one in given_in]
    assert {(one.model, one.epoch, one.recorded_at) for one in logged} == {("m 1", 5.0, clock.now)}


def test_numbers_are_never_used_again(tmp_path: Path, clock: Clock) -> None:
    """Neither a restart nor the deletion of everything gives a number a second time."""
    for life in range(3):
        with Database(tmp_path / "log.db", SCHEMA) as database:
            log = EventLog(database, clock)
            (logged,) = log.append([message("a", life)], model="m").result()
            assert (logged.position, logged.message.seq) == (life + 1, life + 1)
            clock.now += 10
            assert log.forget_before(clock.now) == 1
            page = log.query(EventQuery(after=0)).result()
            assert (page.messages, page.forgotten, page.last) == ((), life + 1, life + 1)


def test_announced_in_order_after_it_is_durable(log: EventLog, tmp_path: Path) -> None:
    """Many threads write; a listener hears each message once, in order, when another reader can see it."""
    heard: list[LoggedMessage] = []
    unseen: list[int] = []
    other = sqlite3.connect(tmp_path / "log.db", check_same_thread=False)

    def listen(logged: LoggedMessage) -> None:
        heard.append(logged)
        if not other.execute("SELECT 1 FROM messages WHERE position = ?", (logged.position,)).fetchone():
            unseen.append(logged.position)

    def write(stream: str) -> None:
        for number in range(50):
            log.append([message(stream, number)], model="m").result()

    with log.listening(listen):
        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    other.close()
    assert unseen == []
    assert [one.position for one in heard] == list(range(1, 201))
    for name in "abcd":
        assert [one.message.seq for one in heard if one.stream == name] == list(range(1, 51))


STREAMS, LABELS = ("a", "b"), ("tennis", "chess")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_queries_against_a_plain_list(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any mixture of writes, clock steps (back too) and retention answers like a list that is filtered."""
    clock = Clock()
    kept: list[LoggedMessage] = []
    with Database(tmp_path_factory.mktemp("log") / "log.db", SCHEMA) as database:
        log = EventLog(database, clock)
        for number in range(data.draw(st.integers(0, 25))):
            clock.now += data.draw(st.sampled_from([0, 1, 400, 5000, -3000]))
            pick = (data.draw(st.sampled_from(STREAMS)), data.draw(st.sampled_from(LABELS)))
            kept += log.append([message(pick[0], number, label=pick[1])], model="m").result()
        forgotten = 0
        if data.draw(st.booleans()) and kept:
            moment = clock.now + data.draw(st.sampled_from([-6000, -400, 0, 1]))
            log.forget_before(moment)
            bound = next((i for i, one in enumerate(kept) if one.recorded_at >= moment), len(kept))
            forgotten = kept[bound - 1].position if bound else 0
            kept = kept[bound:]
        since = data.draw(st.none() | st.sampled_from([clock.now - d for d in (0, 1, 399, 5000)]))
        until = data.draw(st.none() | st.sampled_from([clock.now + d for d in (-400, 0, 1, 3000)]))
        query = EventQuery(
            after=data.draw(st.integers(0, 30)),
            stream=data.draw(st.none() | st.sampled_from(STREAMS)),
            label=data.draw(st.none() | st.sampled_from(LABELS)),
            since=since,
            until=until,
            limit=data.draw(st.integers(0, 30)),
        )
        page = log.query(query).result()
        expected = [
            one
            for one in kept
            if one.position > query.after
            and query.matches(one)
            and (since is None or one.recorded_at >= since)
            and (until is None or one.recorded_at < until)
        ]
        assert list(page.messages) == expected[: query.limit]
        if query.stream is None:
            assert page.forgotten == forgotten


def test_open_events_are_ended_once(log: EventLog) -> None:
    """What a lost process left open is ended with a reason; what had ended, or another stream's, is not."""
    log.append([message("a", 1), message("a", 2, EventPhase.STARTED)], model="m").result()
    log.append([message("b", 1, EventPhase.STARTED), message("b", 1, EventPhase.UPDATED)], model="m").result()
    (ended,) = log.end_open_events(EndReason.SOURCE_LOST, "a").result()
    assert (ended.message.event.id, ended.message.event.end_reason) == ("a-000002", EndReason.SOURCE_LOST)
    assert log.end_open_events(EndReason.SOURCE_LOST, "a").result() == ()
    assert [one.stream for one in log.end_open_events(EndReason.SOURCE_LOST).result()] == ["b"]
    assert [event.end_reason for event in log.events("a").result()] == [EndReason.EXIT, EndReason.SOURCE_LOST]


def test_events_by_the_beginning_of_their_ids(log: EventLog) -> None:
    """Those of one attempt at a clip are told from those of another, whose name only resembles it."""
    for name in ("c_1", "c_1.2", "cx1"):
        told = message(name, 1)
        log.append([replace(told, event=replace(told.event, stream="c_1"))], model="m 1").result()
    assert [event.id for event in log.events("c_1", "c_1-").result()] == ["c_1-000001"]
    assert [event.id for event in log.events("c_1", "c_1.2-").result()] == ["c_1.2-000001"]
    assert len(log.events("c_1").result()) == 3


def test_all_events_of_a_stream(log: EventLog) -> None:
    """Also of a clip in which more happens than a page of the log holds."""
    many = [message("c_1", number) for number in range(MOST_ROWS + 200)]
    log.append(many, model="m 1").result()
    assert len(log.events("c_1", "c_1-").result()) == len(many)


def test_coverage_adds_up_by_hour(log: EventLog) -> None:
    """Watched, dropped and blind seconds add up in the hour to which they belong."""
    start = 1_700_000_000 // HOUR * HOUR
    for at, watched in ((start, 10.0), (start + 3599, 5.0), (start + 3600, 7.0)):
        log.cover("door", at, watched, 1.0, 0.5).result()
    assert log.coverage("door", start, start + 7200).result() == (
        Coverage("door", start, 15.0, 2.0, 1.0),
        Coverage("door", start + 3600, 7.0, 1.0, 0.5),
    )


def test_hours_that_are_asked_for_one_after_the_other_come_once(log: EventLog) -> None:
    """An hour belongs to a span that has a part of it; one that ends where the span begins does not."""
    start = 1_700_000_000 // HOUR * HOUR
    for at in range(start - HOUR, start + 3 * HOUR, HOUR):
        log.cover("door", at, 1.0, 0.0, 0.0).result()

    def hours(since: float, until: float) -> list[int]:
        return [(hour.hour - start) // HOUR for hour in log.coverage("door", since, until).result()]

    assert [hours(start + n * HOUR, start + (n + 1) * HOUR) for n in range(2)] == [[0], [1]]
    assert hours(start + 0.5, start + HOUR + 0.5) == [0, 1]


def test_a_task_that_fails_takes_no_other_along(log: EventLog, tmp_path: Path) -> None:
    """A write that cannot be is an error for its sender alone, and the numbers have no hole."""
    bad = message("a", 1, label=None)  # type: ignore[arg-type]
    futures = [
        log.append([message("a", n), bad] if n % 3 == 0 else [message("a", n)], model="m") for n in range(9)
    ]
    for number, future in enumerate(futures):
        if number % 3 == 0:
            with pytest.raises(sqlite3.IntegrityError):
                future.result()
        else:
            future.result()
    assert [(one.position, one.message.seq) for one in everything(log)] == [(n, n) for n in range(1, 7)]


def test_a_caller_who_has_left_holds_up_nobody(log: EventLog) -> None:
    """A write whose caller cancelled it, as a request that is broken off does, costs no other write."""
    database, gate = log._database, threading.Event()
    slow = database.write(lambda db: gate.wait())
    left = database.write(lambda db: 1)
    assert left.cancel()
    gate.set()
    assert slow.result(30)
    assert database.write(lambda db: 2).result(30) == 2


def read_at_once(log: EventLog) -> list[Page]:
    """What all readers find, each while the others read."""
    all_read = threading.Barrier(READERS)

    def task(db: sqlite3.Connection) -> Page:
        all_read.wait(10)
        return _page(db, EventQuery())

    futures = [log._database.read(task) for _ in range(READERS)]
    return [future.result(20) for future in futures]


def test_readers_need_no_file_that_is_not_open_yet(log: EventLog, tmp_path: Path) -> None:
    """Neither a moment without file descriptors nor a file that is gone costs a reader, then or later."""
    log.append([message("a", 0)], model="m").result()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert [page.last for page in read_at_once(log)] == [1] * READERS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (tmp_path / "log.db").unlink()
    assert [page.last for page in read_at_once(log)] == [1] * READERS
    assert not (tmp_path / "log.db").exists()


def test_a_database_of_which_no_reader_can_be_had_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer ends too."""

    def fail(database: Database) -> sqlite3.Connection:
        raise StorageError("unable to open database file")

    threads = set(threading.enumerate())
    monkeypatch.setattr(Database, "_reading_connection", fail)
    with pytest.raises(StorageError, match="unable to open"):
        Database(tmp_path / "log.db", SCHEMA)
    assert set(threading.enumerate()) <= threads


def test_a_full_disk_is_told_and_nothing_announced(log: EventLog) -> None:
    """What could not be committed is announced to nobody; once there is room, all goes on without a hole."""
    heard: list[int] = []
    with log.listening(lambda logged: heard.append(logged.position)):
        log.append([message("a", 0)], model="m").result()
        pages = log._database.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0]).result()
        log._database.write(lambda db: db.execute(f"PRAGMA max_page_count={pages}").fetchone()).result()
        stored = 1
        failure = None
        while failure is None:
            failure = log.append([message("a", stored)], model="m" * 500).exception()
            stored += failure is None
        assert isinstance(failure, StorageError)
        assert "full" in str(failure)
        log._database.write(lambda db: db.execute("PRAGMA max_page_count=1000000").fetchone()).result()
        log.append([message("a", 0)], model="m").result()
    assert heard == list(range(1, stored + 2))


WRITER = """
import sys
from pathlib import Path
from service.database import READERS, Database
from service.event_log import SCHEMA, EventLog
from tests.service.test_event_log import message
with Database(Path(sys.argv[1]), SCHEMA) as database:
    log = EventLog(database)
    def tell(one):
        print(one.position, one.stream, one.message.seq, one.message.event.id, flush=True)
    with log.listening(tell):
        for number in range(10**9):
            log.append([message("ab"[number % 2], number), message("c", number)], model="m")
"""


def test_kill_loses_nothing_that_was_announced(tmp_path: Path) -> None:
    """Killed at random moments, again and again: the log has no hole and holds all that was announced."""
    path = tmp_path / "log.db"
    announced: dict[int, str] = {}
    chance = random.Random(7)
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        wanted = chance.randrange(1, 300)
        lines = []
        for line in writer.stdout:
            lines.append(line)
            if len(lines) >= wanted:
                writer.send_signal(signal.SIGKILL)
                break
        lines += writer.stdout.read().splitlines(keepends=True)
        writer.stdout.close()
        writer.wait()
        for line in lines:
            if line.endswith("\n"):  # the last may be cut
                position, rest = line.split(maxsplit=1)
                assert int(position) not in announced
                announced[int(position)] = rest.strip()
        with Database(path, SCHEMA) as database:
            rows = database.read(
                lambda db: db.execute(
                    "SELECT position, stream, seq, event FROM messages ORDER BY position"
                ).fetchall()
            ).result()
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        stored = {row[0]: f"{row[1]} {row[2]} {row[3]}" for row in rows}
        assert announced.items() <= stored.items()
        for name in "abc":
            seqs = [row[2] for row in rows if row[1] == name]
            assert seqs == list(range(1, len(seqs) + 1))
    assert len(announced) > 200


def test_coverage_is_kept_as_long_as_messages(log: EventLog) -> None:
    """Of the hours those go that were over before the messages that are kept; the one in between stays."""
    start = 1_700_000_000 // HOUR * HOUR
    for at in (start, start + HOUR, start + 2 * HOUR):
        log.cover("door", at, 10.0, 0.0, 0.0).result()
    log.forget_before(start + 1.5 * HOUR)
    kept = log.coverage("door", start, start + 3 * HOUR).result()
    assert [one.hour for one in kept] == [start + HOUR, start + 2 * HOUR]


def test_no_event_ends_before_it_was_reported(log: EventLog, clock: Clock) -> None:
    """Also where the clock was set back meanwhile, by which its age would be below zero."""
    log.append([message("a", 3, EventPhase.STARTED)], model="m", epoch=clock.now + 3600).result()
    (ended,) = log.end_open_events(EndReason.SOURCE_LOST).result()
    assert ended.message.event.end_pts == 3.25


def test_the_end_of_a_time_span_is_not_part_of_it(log: EventLog, clock: Clock) -> None:
    """So that one span after the other gives each message, and each hour, once."""
    hour = int(clock.now // HOUR) * HOUR
    log.append([message("a", 1)], model="m").result()
    log.cover("a", hour, 10.0, 0.0, 0.0).result()
    for span, found in ({"until": clock.now}, 0), ({"since": clock.now, "until": clock.now + 1}, 1):
        assert len(log.query(EventQuery(**span)).result().messages) == found
    assert [len(log.coverage("a", hour - HOUR, until).result()) for until in (hour, hour + 1)] == [0, 1]


def test_no_query_is_without_a_limit(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a large number nor one below zero, which SQLite takes for none, gives more than a page."""
    monkeypatch.setattr(event_log, "MOST_ROWS", 3)
    log.append([message("a", number) for number in range(5)], model="m").result()
    found = [len(log.query(EventQuery(limit=limit)).result().messages) for limit in (10**9, -1)]
    assert found == [3, 0]


def test_the_end_of_one_event_leaves_others_open(log: EventLog) -> None:
    """What goes on beside it is still ended when its process is lost."""
    log.append([message("a", number, EventPhase.STARTED) for number in (1, 2)], model="m").result()
    log.append([message("a", 1)], model="m").result()
    (ended,) = log.end_open_events(EndReason.SOURCE_LOST).result()
    assert ended.message.event.id == "a-000002"
