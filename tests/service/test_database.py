"""One writer for all: what is written lasts, what fails takes nothing along, and the end waits for nobody."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.database import Database
from service.errors import StorageError
from tests.service.children import wait_until

SCHEMA = """
PRAGMA foreign_keys=ON;
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""
ORPHAN = "INSERT INTO children VALUES (1)"
"""Refused only when it is to be committed."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "x.db", SCHEMA) as opened:
        yield opened


def count(db: sqlite3.Connection, table: str = "children") -> int:
    (found,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found)


def test_a_commit_that_fails_costs_nothing_that_comes_after(database: Database) -> None:
    """What could not be committed is undone, its sender is told, and the next write is stored."""
    with pytest.raises(sqlite3.IntegrityError):
        database.write(lambda db: db.execute(ORPHAN)).result()
    database.write(lambda db: db.execute("INSERT INTO parents VALUES (2)")).result()
    assert database.read(lambda db: (count(db), count(db, "parents"))).result() == (0, 1)


def test_a_used_up_quota_is_told_and_passes(database: Database) -> None:
    """SQLite says no more than "disk I/O error"; what comes when there is room again is stored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError, match=r"disk I/O error \(is the disk full, or a quota\?\)$"):
            database.write(lambda db: db.execute("INSERT INTO parents VALUES (1)")).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    database.write(lambda db: db.execute("INSERT INTO parents VALUES (2)")).result()
    assert database.read(lambda db: db.execute("SELECT id FROM parents").fetchall()).result() == [(2,)]


def test_an_end_amid_a_group_is_one(database: Database) -> None:
    """``close`` finishes what was handed in and returns, also where the writer was busy meanwhile."""
    began, gate = threading.Event(), threading.Event()
    database.write(lambda db: (began.set(), gate.wait(10)))
    assert began.wait(10)
    last = database.write(lambda db: 1)
    closing = threading.Thread(target=database.close, daemon=True)
    closing.start()
    wait_until(lambda: database._tasks.qsize() == 2)
    gate.set()
    closing.join(30)
    assert not closing.is_alive()
    assert last.result(0) == 1


def test_what_follows_a_commit_is_done_before_its_sender_goes_on(database: Database) -> None:
    """Who waits for a write finds that its listeners have been told."""
    known, were_done = threading.Event(), []
    future = database.write(lambda db: known.wait(10), lambda _: were_done.append(future.done()))
    known.set()
    future.result()
    assert were_done == [False]


def test_a_power_cut_costs_nothing_that_was_promised(database: Database) -> None:
    """Every commit waits for the disk: synchronous is FULL."""
    assert database.write(lambda db: db.execute("PRAGMA synchronous").fetchone()).result() == (2,)


def test_readers_cannot_write(database: Database) -> None:
    """Beside the one writer nobody changes the file."""
    with pytest.raises(StorageError, match="readonly"):
        database.read(lambda db: db.execute("INSERT INTO parents VALUES (3)")).result()
    assert database.read(lambda db: count(db, "parents")).result() == 0
