"""Remembers the definitions of streams across restarts: a table in the database of the event log."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import Any, Final

from service.config import RunSettings
from service.database import Database
from service.streams.records import OnOverload, Record, StreamDefinition, StreamOptions

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS stream_definitions (name TEXT PRIMARY KEY, document TEXT NOT NULL);
"""


class StreamStore:
    """All calls wait until what they ask for is done, and durable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> tuple[StreamDefinition, ...]:
        """All definitions, oldest first."""

        def task(db: sqlite3.Connection) -> list[str]:
            return [row[0] for row in db.execute("SELECT document FROM stream_definitions")]

        found = [_definition(**json.loads(text)) for text in self._database.read(task).result()]
        return tuple(sorted(found, key=lambda definition: (definition.created_at, definition.name)))

    def save(self, definition: StreamDefinition) -> None:
        row = (definition.name, json.dumps(asdict(definition)))
        self._database.write(
            lambda db: db.execute("INSERT OR REPLACE INTO stream_definitions VALUES (?, ?)", row)
        ).result()

    def delete(self, name: str) -> None:
        self._database.write(
            lambda db: db.execute("DELETE FROM stream_definitions WHERE name = ?", (name,))
        ).result()


def _definition(options: dict[str, Any], **fields: Any) -> StreamDefinition:
    for name in ("labels", "crop"):
        if options[name] is not None:
            options[name] = tuple(options[name])
    options["on_overload"] = OnOverload(options.get("on_overload", OnOverload.REFUSE))
    options["record"] = Record(options["record"])
    settings = RunSettings(**options.pop("settings"))
    return StreamDefinition(options=StreamOptions(settings=settings, **options), **fields)
