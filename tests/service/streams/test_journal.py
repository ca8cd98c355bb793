"""The journal of a stream: what can be stored later is, what never can be holds nothing up."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service import event_log
from service.database import Database
from service.errors import StorageError
from service.event_log import EventLog, EventQuery
from service.streams import journal
from service.streams.journal import Entry, Journal
from service.types import EndReason, Event, EventMessage, EventPhase
from tests.service.streams.cameras import wait_until

EVENT = Event("door.abc-000001", "door", "red", 1.0, 3.0, 0.9, 0.8, 0.5, EndReason.EXIT)
MESSAGE = EventMessage(1, EventPhase.ENDED, EVENT)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "test.db", event_log.SCHEMA) as opened:
        yield opened


def not_null(database: Database) -> Entry:
    """What SQLite refuses for its content."""
    return lambda: database.write(
        lambda connection: connection.execute("INSERT INTO coverage SELECT 'door', 0, NULL, 0, 0")
    )


def half_a_letter(database: Database) -> Entry:
    """What Python's driver refuses."""
    return lambda: database.write(lambda connection: connection.execute("SELECT ?", ("\ud800",)))


def raising(database: Database) -> Entry:
    def fail() -> Future[Any]:
        raise KeyError("a fault of our own")

    return fail


@pytest.mark.parametrize("fault", [not_null, half_a_letter, raising])
def test_what_can_never_be_stored_holds_up_nothing(
    database: Database, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = EventLog(database)
    entries = Journal("door", log, "model 1")
    entries.enter(fault(database))
    entries.append(MESSAGE, None)
    entries.close(10.0)
    (logged,) = log.query(EventQuery()).result().messages
    assert logged.message.event.id == EVENT.id
    assert "can never be stored" in caplog.text


def test_a_disk_that_hangs_does_not_hold_up_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where so much waits for it that whoever brings one entry more waits too."""
    monkeypatch.setattr(journal, "MOST_WAITING", 1)
    entries, begun, hanging = (
        Journal("door", EventLog(database), "model 1"),
        threading.Event(),
        Future[None](),
    )

    def hang() -> Future[None]:
        begun.set()
        return hanging

    entries.enter(hang)
    assert begun.wait(10)
    bringing = threading.Thread(target=lambda: [entries.enter(lambda: None) for _ in range(2)], daemon=True)
    bringing.start()
    closing = threading.Thread(target=entries.close, args=(0.1,), daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    hanging.set_result(None)
    bringing.join(10)
    assert not bringing.is_alive()
    entries._thread.join(10)
    assert not entries._thread.is_alive()


def test_what_the_disk_refuses_is_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "STORE_AGAIN", 0.01)
    log = EventLog(database)
    entries = Journal("door", log, "model 1")
    tries = iter([sqlite3.OperationalError("disk is full"), StorageError("still"), None])
    times = []

    def refused() -> Future[Any] | None:
        times.append(time.monotonic())

        def task(connection: sqlite3.Connection) -> None:
            if error := next(tries):
                raise error

        return database.write(task)

    entries.enter(refused)
    entries.append(replace(MESSAGE, seq=2), None)
    deadline = time.monotonic() + 10
    while len(times) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    entries.close(10.0)
    assert len(times) == 3
    assert len(log.query(EventQuery()).result().messages) == 1


def test_a_disk_that_stays_full_does_not_hold_up_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is being closed nothing is waited for: each entry that is left has one more try."""
    monkeypatch.setattr(journal, "STORE_AGAIN", 60.0)
    log = EventLog(database)
    entries = Journal("door", log, "model 1")
    tried = threading.Event()

    def refused() -> Future[Any] | None:
        tried.set()
        raise StorageError("full")

    entries.enter(refused)
    entries.append(MESSAGE, None)
    assert tried.wait(10)
    entries.close(3.0)
    assert len(log.query(EventQuery()).result().messages) == 1


def test_what_is_lost_at_the_end_is_counted_once(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that refuses to the end costs one line of the log, which does not promise another try."""
    entries = Journal("door", EventLog(database), "model 1")

    def refused() -> Future[Any] | None:
        raise StorageError("the disk is full")

    for _ in range(5):
        entries.enter(refused)
    wait_until(lambda: caplog.records)
    entries.close(10.0)
    assert [record.getMessage() for record in caplog.records] == [
        "stream door: the disk is full; trying again",
        "stream door: the disk is full; entries lost: 5",
    ]
