"""The durable record of everything that subscribers are told, in the order in which they are told it.

Two numbers stand on every message. ``seq`` counts the messages of one stream, without a hole. ``position``
counts those of all streams and is what a subscriber resumes from. Both rise strictly and are never used
again, neither after a restart nor after old messages have been deleted, and both are given out here: what
number a message brings along is not looked at, since its sender may have lost its memory.

A message is on disk before any listener hears of it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from service.database import Database
from service.types import EndReason, Event, EventMessage, EventPhase

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS messages (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL, seq INTEGER NOT NULL, phase TEXT NOT NULL,
    event TEXT NOT NULL, label TEXT NOT NULL, start_pts REAL NOT NULL, end_pts REAL,
    peak REAL NOT NULL, mean REAL NOT NULL, detect_delay REAL NOT NULL, end_reason TEXT,
    model TEXT NOT NULL, epoch REAL, recorded_at REAL NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_seq ON messages (stream, seq);
CREATE INDEX IF NOT EXISTS messages_by_stream ON messages (stream, position);
CREATE INDEX IF NOT EXISTS messages_by_label ON messages (label, position);
CREATE INDEX IF NOT EXISTS messages_by_both ON messages (stream, label, position);
CREATE TABLE IF NOT EXISTS streams (
    name TEXT PRIMARY KEY, last_seq INTEGER NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open_events (
    stream TEXT NOT NULL, event TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (stream, event)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (
    span INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS forgotten (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL);
INSERT OR IGNORE INTO forgotten VALUES (1, 0);
CREATE TABLE IF NOT EXISTS coverage (
    stream TEXT NOT NULL, hour INTEGER NOT NULL, watched REAL NOT NULL, dropped REAL NOT NULL,
    blind REAL NOT NULL, PRIMARY KEY (stream, hour)
) WITHOUT ROWID;
"""
SPAN: Final = 600
"""Seconds of wall clock whose first and last position are kept in ``spans``: how a time is looked up,
also where the clock was set back and times do not rise with positions."""
HOUR: Final = 3600
END_OF_TIME: Final = 1e12
MOST_ROWS: Final = 1000
DELETE_AT_ONCE: Final = 2000
"""Rows that retention deletes in one transaction, so that no message waits long behind it."""

_COLUMNS: Final = (
    "position, stream, seq, phase, event, label, start_pts, end_pts, peak, mean, detect_delay, end_reason,"
    " model, epoch, recorded_at"
)


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message as it stands in the log.

    ``recorded_at`` is wall-clock seconds (Unix). ``epoch`` is the wall clock at ``pts`` 0 for a live
    source, ``None`` for a file. ``model`` is name and version.
    """

    position: int
    message: EventMessage
    model: str
    epoch: float | None
    recorded_at: float

    @property
    def stream(self) -> str:
        return self.message.event.stream


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which messages; ``since`` and ``until`` are wall-clock seconds of recording, half-open."""

    after: int = 0
    stream: str | None = None
    label: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int = MOST_ROWS

    def matches(self, logged: LoggedMessage) -> bool:
        """Whether a message meets stream and label, by which subscribers choose."""
        event = logged.message.event
        return self.stream in (None, event.stream) and self.label in (None, event.label)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in order; those up to ``forgotten`` that would have matched may have been deleted.

    ``last`` is the newest position of the whole log at that moment.
    """

    messages: tuple[LoggedMessage, ...]
    forgotten: int
    last: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of one hour of a stream, in seconds; ``hour`` is the Unix time at which it begins."""

    stream: str
    hour: int
    watched: float
    dropped: float
    blind: float


Listener = Callable[[LoggedMessage], None]


class EventLog:
    """Messages and coverage of all streams, in a ``Database`` made with ``SCHEMA`` (among others)."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._listeners: tuple[Listener, ...] = ()

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call ``listener`` with every message once it is durable, in order, from the writer's thread."""
        self._listeners = (*self._listeners, listener)
        try:
            yield
        finally:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def append(
        self, messages: Sequence[EventMessage], *, model: str, epoch: float | None = None
    ) -> Future[tuple[LoggedMessage, ...]]:
        """Number and store messages, all or none; resolves once they are durable and announced."""
        now = self._clock()
        return self._database.write(
            lambda db: tuple(_insert(db, message, model, epoch, now) for message in messages), self._announce
        )

    def end_open_events(
        self, reason: EndReason, stream: str | None = None, seen: float = 0.0
    ) -> Future[tuple[LoggedMessage, ...]]:
        """End what a stream, or any, has left open when its process was lost; at its last known time.

        ``seen`` is how far it had been seen by then, in seconds of media time, where that is known.
        """

        def task(db: sqlite3.Connection) -> tuple[LoggedMessage, ...]:
            where, values = ("WHERE open_events.stream = ?", (stream,)) if stream else ("", ())
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE position IN "
                f"(SELECT position FROM open_events {where}) ORDER BY position",
                values,
            ).fetchall()
            return tuple(_insert(db, *_ending(_logged(row), reason, seen), now) for row in rows)

        now = self._clock()
        return self._database.write(task, self._announce)

    def query(self, query: EventQuery) -> Future[Page]:
        """At most ``limit`` (and ``MOST_ROWS``) messages after ``after`` in the order of their positions."""
        return self._database.read(lambda db: _page(db, query))

    def events(self, stream: str, prefix: str = "") -> Future[tuple[Event, ...]]:
        """All events of a stream as last reported, in the order in which they began.

        Only those whose ids begin with ``prefix``.
        """

        def task(db: sqlite3.Connection) -> tuple[Event, ...]:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM messages WHERE stream = ?1 AND position IN "
                "(SELECT max(position) FROM messages WHERE stream = ?1 AND substr(event, 1, length(?2)) = ?2 "
                "GROUP BY event) ORDER BY start_pts",
                (stream, prefix),
            )
            return tuple(_logged(row).message.event for row in rows)

        return self._database.read(task)

    def forget_before(self, moment: float) -> int:
        """Delete the messages recorded before ``moment`` (Unix time); returns how many. Waits.

        Only a prefix of the log is ever deleted; where the clock was set back, less than was asked for.
        Events that are still open stay known to ``end_open_events`` only as long as they are reported.
        """
        bound = self._database.read(lambda db: _first_kept(db, moment)).result()
        total = 0
        while deleted := self._database.write(lambda db: _delete_up_to(db, bound - 1)).result():
            total += deleted
        self._database.write(lambda db: _forget_spans(db, bound, moment)).result()
        return total

    def cover(self, stream: str, at: float, watched: float, dropped: float, blind: float) -> Future[None]:
        """Add seconds to the hour in which ``at`` (Unix time) lies."""

        def task(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO coverage VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "watched = watched + excluded.watched, dropped = dropped + excluded.dropped, "
                "blind = blind + excluded.blind",
                (stream, int(at // HOUR) * HOUR, watched, dropped, blind),
            )

        return self._database.write(task)

    def coverage(self, stream: str, since: float, until: float) -> Future[tuple[Coverage, ...]]:
        """The hours that have a part in [``since``, ``until``) and in which the stream was known at all."""

        def task(db: sqlite3.Connection) -> tuple[Coverage, ...]:
            rows = db.execute(
                "SELECT * FROM coverage WHERE stream = ? AND hour > ? AND hour < ? ORDER BY hour",
                (stream, since - HOUR, until),
            )
            return tuple(Coverage(*row) for row in rows)

        return self._database.read(task)

    def _announce(self, logged: tuple[LoggedMessage, ...]) -> None:
        for message in logged:
            for listener in self._listeners:
                listener(message)


def _insert(
    db: sqlite3.Connection, message: EventMessage, model: str, epoch: float | None, now: float
) -> LoggedMessage:
    event = message.event
    (seq,) = db.execute(
        "INSERT INTO streams (name, last_seq) VALUES (?, 1) "
        "ON CONFLICT DO UPDATE SET last_seq = last_seq + 1 RETURNING last_seq",
        (event.stream,),
    ).fetchone()
    row = (
        *(event.stream, seq, message.phase, event.id, event.label, event.start_pts, event.end_pts),
        *(event.peak_confidence, event.mean_confidence, event.detect_delay, event.end_reason),
        *(model, epoch, now),
    )
    position = db.execute(
        f"INSERT INTO messages ({_COLUMNS.partition(', ')[2]}) VALUES ({', '.join('?' * len(row))})", row
    ).lastrowid
    assert position is not None
    if message.phase is EventPhase.ENDED:
        db.execute("DELETE FROM open_events WHERE stream = ? AND event = ?", (event.stream, event.id))
    else:
        db.execute("INSERT OR REPLACE INTO open_events VALUES (?, ?, ?)", (event.stream, event.id, position))
    db.execute(
        "INSERT INTO spans VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last",
        (int(now // SPAN), position, position),
    )
    return LoggedMessage(position, replace(message, seq=seq), model, epoch, now)


def _ending(logged: LoggedMessage, reason: EndReason, seen: float) -> tuple[EventMessage, str, float | None]:
    event = logged.message.event
    reported = max(event.start_pts + event.detect_delay, seen)
    if logged.epoch is not None:
        reported = max(reported, logged.recorded_at - logged.epoch)
    ended = replace(event, end_pts=reported, end_reason=reason)
    return EventMessage(0, EventPhase.ENDED, ended), logged.model, logged.epoch


def _page(db: sqlite3.Connection, query: EventQuery) -> Page:
    db.execute("BEGIN")  # one moment for all that follows
    try:
        (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        forgotten = _forgotten(db, query.stream)
        low, high = query.after, last
        conditions = ["position > ?", "position <= ?"]
        values: list[str | float] = []
        for name, value in (("stream", query.stream), ("label", query.label)):
            if value is not None:
                conditions.append(f"{name} = ?")
                values.append(value)
        if query.since is not None or query.until is not None:
            since = query.since or 0.0
            until = END_OF_TIME if query.until is None else query.until
            conditions += ["recorded_at >= ?", "recorded_at < ?"]
            values += [since, until]
            first, newest = db.execute(
                "SELECT coalesce(min(first), 1), coalesce(max(last), 0) FROM spans "
                "WHERE span BETWEEN ? AND ?",
                (int(since // SPAN), int(until // SPAN)),
            ).fetchone()
            low, high = max(low, first - 1), min(high, newest)
        # SQLite has no figures on this table, and by guess alone sometimes looks up only one of the two.
        both = query.stream is not None and query.label is not None
        table = "messages INDEXED BY messages_by_both" if both else "messages"
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM {table} WHERE {' AND '.join(conditions)} ORDER BY position LIMIT ?",
            (low, high, *values, max(0, min(query.limit, MOST_ROWS))),
        ).fetchall()
    finally:
        db.execute("COMMIT")
    return Page(tuple(_logged(row) for row in rows), forgotten, last)


def _forgotten(db: sqlite3.Connection, stream: str | None) -> int:
    if stream is None:
        row = db.execute("SELECT position FROM forgotten").fetchone()
    else:
        row = db.execute("SELECT forgotten FROM streams WHERE name = ?", (stream,)).fetchone()
    return int(row[0]) if row else 0


def _first_kept(db: sqlite3.Connection, moment: float) -> int:
    """The first position that was recorded at ``moment`` or later, or the end of the log."""
    (span_first,) = db.execute(
        "SELECT min(first) FROM spans WHERE span >= ?", (int(moment // SPAN),)
    ).fetchone()
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    if span_first is None:
        return int(last) + 1
    (first,) = db.execute(
        "SELECT position FROM messages WHERE position >= ? AND recorded_at >= ? ORDER BY position LIMIT 1",
        (span_first, moment),
    ).fetchone() or (last + 1,)
    return int(first)


def _delete_up_to(db: sqlite3.Connection, bound: int) -> int:
    rows = db.execute(
        "SELECT position, stream FROM messages WHERE position <= ? ORDER BY position LIMIT ?",
        (bound, DELETE_AT_ONCE),
    ).fetchall()
    if not rows:
        return 0
    last = rows[-1][0]
    newest = {stream: position for position, stream in rows}
    db.executemany(
        "UPDATE streams SET forgotten = ? WHERE name = ?",
        [(position, stream) for stream, position in newest.items()],
    )
    db.execute("UPDATE forgotten SET position = ?", (last,))
    db.execute("DELETE FROM messages WHERE position <= ?", (last,))
    db.execute("DELETE FROM open_events WHERE position <= ?", (last,))
    return len(rows)


def _forget_spans(db: sqlite3.Connection, bound: int, moment: float) -> None:
    db.execute("DELETE FROM spans WHERE last < ?", (bound,))
    db.execute("DELETE FROM coverage WHERE hour < ?", (moment - HOUR,))


def _logged(row: Sequence[Any]) -> LoggedMessage:
    position, stream, seq, phase, event_id, label, start, end, peak, mean, delay, reason, model, epoch, at = (
        row
    )
    event = Event(
        id=event_id,
        stream=stream,
        label=label,
        start_pts=start,
        end_pts=end,
        peak_confidence=peak,
        mean_confidence=mean,
        detect_delay=delay,
        end_reason=EndReason(reason) if reason else None,
    )
    return LoggedMessage(position, EventMessage(seq, EventPhase(phase), event), model, epoch, at)
