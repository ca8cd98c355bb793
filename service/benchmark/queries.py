"""An event log of a million events, and how long it takes to be asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.benchmark.statistics import Spread, significant
from service.database import Database
from service.event_log import SCHEMA, EventLog, EventQuery
from service.types import EndReason, Event, EventMessage, EventPhase

STREAMS: Final = 20
LABELS: Final = 22
RARE: Final = "rare"
"""A label that one event in 100,000 has: to find a page of it, an index is needed."""
DAYS: Final = 90
DAY: Final = 86400.0
AT_ONCE: Final = 500
UNDER_WAY: Final = 8
TIMES: Final = 25
BEGAN: Final = 1_700_000_000.0


@dataclass(slots=True)
class _Clock:
    now: float = BEGAN

    def __call__(self) -> float:
        return self.now


def measure_queries(
    folder: Path, events: int, on_progress: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Fill a log with so many events (two messages each, over 90 days) and ask it in all ways there are.

    Milliseconds are from the question to its decoded answer. Each query asks for a page of 100.
    """
    clock = _Clock()
    with Database(folder / "events.sqlite", SCHEMA) as database:
        log = EventLog(database, clock)
        began = time.perf_counter()
        fill(log, clock, events, on_progress)
        seconds = time.perf_counter() - began
        figures = {
            name: Spread.of([_milliseconds(log.query, query) for _ in range(TIMES)]).document()
            for name, query in queries(events).items()
        }
        megabytes = sum(path.stat().st_size for path in folder.glob("events.sqlite*")) / 1e6
    return {
        "events": events,
        "messages": 2 * events,
        "megabytes": significant(megabytes),
        "messages_written_per_second": significant(2 * events / seconds),
        "query_ms": figures,
    }


def fill(
    log: EventLog, clock: _Clock, events: int, on_progress: Callable[[int], None] = lambda done: None
) -> None:
    """Events of ``STREAMS`` streams and ``LABELS`` labels, evenly over ``DAYS`` days."""
    under_way: deque[Future[Any]] = deque()
    for first in range(0, events, AT_ONCE):
        clock.now = BEGAN + DAYS * DAY * first / events
        messages = [
            message for number in range(first, min(first + AT_ONCE, events)) for message in _life(number)
        ]
        under_way.append(log.append(messages, model="benchmark 1", epoch=BEGAN))
        if len(under_way) >= UNDER_WAY:
            under_way.popleft().result()
            on_progress(first)
    while under_way:
        under_way.popleft().result()
    on_progress(events)


def queries(events: int) -> dict[str, EventQuery]:
    """The ways in which a client can ask, by name."""
    late, day = BEGAN + 0.9 * DAYS * DAY, DAY
    stream, label = "camera7", "label3"
    return {
        "newest": EventQuery(after=max(0, 2 * events - 100), limit=100),
        "first": EventQuery(limit=100),
        "stream": EventQuery(stream=stream, limit=100),
        "stream_late": EventQuery(stream=stream, after=int(1.8 * events), limit=100),
        "label": EventQuery(label=label, limit=100),
        "label_rare": EventQuery(label=RARE, limit=100),
        "label_unknown": EventQuery(label="none such", limit=100),
        "stream_and_label": EventQuery(stream=stream, label=label, limit=100),
        "stream_and_rare_label": EventQuery(stream=stream, label=RARE, limit=100),
        "day": EventQuery(since=late, until=late + day, limit=100),
        "day_of_stream": EventQuery(stream=stream, since=late, until=late + day, limit=100),
        "day_of_label": EventQuery(label=label, since=late, until=late + day, limit=100),
        "day_of_rare_label": EventQuery(label=RARE, since=late, until=late + day, limit=100),
        "stream_unknown_all_days": EventQuery(stream="none", since=BEGAN, until=late, limit=100),
        "full_page": EventQuery(stream=stream, limit=1000),
    }


def _milliseconds(ask: Callable[[EventQuery], Future[Any]], query: EventQuery) -> float:
    began = time.perf_counter()
    ask(query).result()
    return 1000 * (time.perf_counter() - began)


def _life(number: int) -> tuple[EventMessage, EventMessage]:
    stream = f"camera{number % STREAMS}"
    label = RARE if number % 100_000 == 7 else f"label{number // STREAMS % LABELS}"
    start = DAYS * DAY * number / 1e6
    event = Event(f"{stream}.{number}", stream, label, start, None, 0.9, 0.8, 0.7)
    ended = Event(f"{stream}.{number}", stream, label, start, start + 4, 0.95, 0.85, 0.7, EndReason.EXIT)
    return EventMessage(0, EventPhase.STARTED, event), EventMessage(0, EventPhase.ENDED, ended)
