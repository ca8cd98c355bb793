"""Cursors and dead letters of webhooks, as tasks for a ``Database``."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable
from typing import Final

from service.webhooks.records import DeadLetter

# Without AUTOINCREMENT: the event log takes the end of the log from sqlite_sequence.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS webhook_cursors (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS webhook_dead (
    name TEXT NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL,
    attempts INTEGER NOT NULL, died_at REAL NOT NULL, queued INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS webhook_dead_by_name ON webhook_dead (name, position);
CREATE INDEX IF NOT EXISTS webhook_dead_by_time ON webhook_dead (died_at);
CREATE INDEX IF NOT EXISTS webhook_dead_queued ON webhook_dead (name, position) WHERE queued;
"""


def delivery_id(name: str, position: int) -> str:
    """What a receiver tells repetitions by, and what a dead letter is called."""
    return f"{name}-{position}"


def webhook_of(letter_id: str) -> str:
    """The name of the webhook, whether there is such a letter or not."""
    return letter_id.rpartition("-")[0]


def cursors(db: sqlite3.Connection, names: Iterable[str], last: int) -> dict[str, int]:
    """Where each webhook goes on; one that is new begins after ``last``."""
    for name in names:
        db.execute("INSERT OR IGNORE INTO webhook_cursors VALUES (?, ?)", (name, last))
    return dict(db.execute("SELECT name, position FROM webhook_cursors").fetchall())


def set_cursor(db: sqlite3.Connection, name: str, position: int) -> None:
    db.execute("UPDATE webhook_cursors SET position = ? WHERE name = ?", (position, name))


def queued_letter(db: sqlite3.Connection, name: str) -> tuple[int, bytes] | None:
    """Position and body of the first dead letter that is to be sent again."""
    row: tuple[int, bytes] | None = db.execute(
        "SELECT position, body FROM webhook_dead WHERE name = ? AND queued ORDER BY position LIMIT 1", (name,)
    ).fetchone()
    return row


def bury(
    db: sqlite3.Connection, name: str, position: int, body: bytes, reason: str, attempts: int, most: int
) -> int:
    """Keep a dead letter, and of all of them the newest ``most``; returns how many were deleted."""
    db.execute(
        "INSERT OR REPLACE INTO webhook_dead VALUES (?, ?, ?, ?, ?, ?, 0)",
        (name, position, body, reason, attempts, time.time()),
    )
    return db.execute(
        "DELETE FROM webhook_dead WHERE name = ?1 AND position <= (SELECT position FROM webhook_dead "
        "WHERE name = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2)",
        (name, most),
    ).rowcount


def unbury(db: sqlite3.Connection, name: str, position: int) -> None:
    """A dead letter was delivered after all."""
    db.execute("DELETE FROM webhook_dead WHERE name = ? AND position = ?", (name, position))


def queue_letter(db: sqlite3.Connection, letter_id: str) -> bool:
    """Have a dead letter sent again; False where there is none."""
    name, _, position = letter_id.rpartition("-")
    if not re.fullmatch(r"[0-9]{1,18}", position):
        return False
    statement = "UPDATE webhook_dead SET queued = 1 WHERE name = ? AND position = ?"
    return db.execute(statement, (name, int(position))).rowcount > 0


def letters(db: sqlite3.Connection, limit: int) -> tuple[DeadLetter, ...]:
    """The newest of all webhooks."""
    rows = db.execute(
        "SELECT name, position, reason, attempts, died_at, queued FROM webhook_dead "
        "ORDER BY died_at DESC, position DESC LIMIT ?",
        (max(0, limit),),
    )
    return tuple(
        DeadLetter(delivery_id(name, position), name, position, reason, attempts, died_at, bool(queued))
        for name, position, reason, attempts, died_at, queued in rows
    )
