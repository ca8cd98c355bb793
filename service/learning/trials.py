"""What labels on trial would have done: kept apart from the event log, where nobody must meet it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from service.database import Database
from service.types import EndReason, Event, EventPhase

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS trial_events (
    label TEXT NOT NULL, stream TEXT NOT NULL, event TEXT NOT NULL, start_pts REAL NOT NULL, end_pts REAL,
    peak REAL NOT NULL, mean REAL NOT NULL, detect_delay REAL NOT NULL, end_reason TEXT, epoch REAL,
    recorded_at REAL NOT NULL, PRIMARY KEY (label, stream, event)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trial_frames (
    label TEXT NOT NULL, stream TEXT NOT NULL, frames INTEGER NOT NULL, PRIMARY KEY (label, stream)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trial_taken (
    label TEXT NOT NULL, stream TEXT NOT NULL, known TEXT NOT NULL, taken REAL NOT NULL,
    PRIMARY KEY (label, stream, known)
) WITHOUT ROWID;
"""
MOST_EVENTS: Final = 10_000
"""Kept of one label; the oldest go first."""
SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class TrialEvent:
    """An event that there would have been; ``epoch`` is the Unix time at pts 0 of a live source."""

    event: Event
    epoch: float | None
    recorded_at: float


@dataclass(frozen=True, slots=True)
class StreamTrial:
    """One stream: frames judged, events that there would have been, and what they would have taken.

    ``taken`` is known label to the sum over all frames of the probability that it would have lost.
    """

    stream: str
    frames: int
    events: int
    taken: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a label on trial has done so far; ``newest`` are its last events, newest first."""

    streams: tuple[StreamTrial, ...]
    newest: tuple[TrialEvent, ...]


class TrialLog:
    """Trials by the id of the label, in a ``Database`` made with ``SCHEMA`` (among others)."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def note(self, label: str, phase: EventPhase, event: Event, epoch: float | None) -> Future[None]:
        """Store a step in the life of an event."""
        now = self._clock()
        row = (
            *(label, event.stream, event.id, event.start_pts, event.end_pts, event.peak_confidence),
            *(event.mean_confidence, event.detect_delay, event.end_reason, epoch, now),
        )

        def task(db: sqlite3.Connection) -> None:
            db.execute(f"INSERT OR REPLACE INTO trial_events VALUES ({', '.join('?' * len(row))})", row)
            if phase is EventPhase.STARTED:
                db.execute(
                    "DELETE FROM trial_events WHERE label = ?1 AND recorded_at < (SELECT recorded_at FROM "
                    "trial_events WHERE label = ?1 ORDER BY recorded_at DESC LIMIT 1 OFFSET ?2)",
                    (label, MOST_EVENTS - 1),
                )

        return self._database.write(task)

    def weigh(
        self, label: str, stream: str, frames: int, taken: tuple[tuple[str, float], ...]
    ) -> Future[None]:
        """Add what was counted of so many more predictions."""

        def task(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO trial_frames VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                "frames = frames + excluded.frames",
                (label, stream, frames),
            )
            db.executemany(
                "INSERT INTO trial_taken VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "taken = taken + excluded.taken",
                [(label, stream, known, share) for known, share in taken],
            )

        return self._database.write(task)

    def compare(self, label: str) -> Future[Comparison]:
        """All that is known of one label."""
        return self._database.read(lambda db: _comparison(db, label))

    def forget(self, label: str) -> Future[None]:
        """The label is gone."""

        def task(db: sqlite3.Connection) -> None:
            for table in ("trial_events", "trial_frames", "trial_taken"):
                db.execute(f"DELETE FROM {table} WHERE label = ?", (label,))

        return self._database.write(task)


def _comparison(db: sqlite3.Connection, label: str) -> Comparison:
    def rows(query: str) -> dict[str, int]:
        return {str(stream): int(number) for stream, number in db.execute(query, (label,))}

    frames = rows("SELECT stream, frames FROM trial_frames WHERE label = ?")
    events = rows("SELECT stream, count(*) FROM trial_events WHERE label = ? GROUP BY stream")
    taken: dict[str, dict[str, float]] = {}
    query = "SELECT stream, known, taken FROM trial_taken WHERE label = ? ORDER BY taken DESC"
    for stream, known, share in db.execute(query, (label,)):
        taken.setdefault(stream, {})[known] = share
    streams = tuple(
        StreamTrial(name, frames.get(name, 0), events.get(name, 0), taken.get(name, {}))
        for name in sorted(frames.keys() | events.keys())
    )
    newest = db.execute(
        "SELECT * FROM trial_events WHERE label = ? ORDER BY recorded_at DESC LIMIT ?", (label, SHOWN)
    )
    return Comparison(streams, tuple(_event(*row) for row in newest))


def _event(
    label: str,
    stream: str,
    event: str,
    start: float,
    end: float | None,
    peak: float,
    mean: float,
    delay: float,
    reason: str | None,
    epoch: float | None,
    recorded_at: float,
) -> TrialEvent:
    found = Event(event, stream, label, start, end, peak, mean, delay, EndReason(reason) if reason else None)
    return TrialEvent(found, epoch, recorded_at)
