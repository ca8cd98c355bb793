from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from service.benchmark.queries import measure_queries, queries
from service.event_log import EventQuery, _page

EVENTS = 3000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    measured = measure_queries(folder, EVENTS)
    assert measured["messages"] == 2 * EVENTS
    assert set(measured["query_ms"]) == set(queries(EVENTS))
    assert all(spread["n"] > 1 for spread in measured["query_ms"].values())
    return folder / "events.sqlite"


@pytest.mark.parametrize("name", list(queries(EVENTS)))
def test_no_question_reads_the_whole_log(filled: Path, name: str) -> None:
    """Every way to ask is answered along an index, so that it takes no longer the longer the log is."""
    plans = [step for statement in asked(filled, queries(EVENTS)[name]) for step in plan(filled, *statement)]
    assert plans
    for step in plans:
        assert "messages" not in step or "SEARCH messages USING" in step, plans
        assert "TEMP B-TREE" not in step, plans


@pytest.mark.parametrize("name", ["stream", "label", "stream_and_label", "label_rare"])
def test_the_index_is_that_of_the_question(filled: Path, name: str) -> None:
    """A stream or a label is looked up, not filtered out of all messages."""
    steps = [step for statement in asked(filled, queries(EVENTS)[name]) for step in plan(filled, *statement)]
    index = {"stream": "by_stream", "stream_and_label": "by_both"}.get(name, "by_label")
    assert any(f"messages_{index}" in step for step in steps), steps


def asked(path: Path, query: EventQuery) -> list[tuple[str, tuple[object, ...]]]:
    """The statements with which a question is answered, and their values."""
    statements: list[str] = []
    with sqlite3.connect(path, isolation_level=None) as db:
        db.set_trace_callback(statements.append)
        _page(db, query)
    db.close()
    return [(text, ()) for text in statements if text.startswith("SELECT")]


def plan(path: Path, statement: str, values: tuple[object, ...]) -> list[str]:
    with sqlite3.connect(path) as db:
        rows = db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    db.close()
    return [row[3] for row in rows]
