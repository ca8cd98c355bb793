"""Remembers clips across restarts: a table in the database of the event log, and a folder for each clip."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from service.clips.records import Clip, ClipOptions, ClipState, VideoFacts
from service.config import RunSettings
from service.database import Database
from service.errors import StorageError
from service.types import CLIP_PREFIX

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS clips (id TEXT PRIMARY KEY, created_at REAL NOT NULL, document TEXT NOT NULL);
"""
SOURCE: Final = "upload"
"""Name of the uploaded file in a clip's folder, whatever the sender called it."""


class ClipStore:
    """The records of clips, and their folders below ``folder``."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load(self) -> tuple[Clip, ...]:
        """All clips, oldest first; deletes folders that belong to none (uploads cut short by a crash)."""

        def task(db: sqlite3.Connection) -> list[str]:
            return [row[0] for row in db.execute("SELECT document FROM clips ORDER BY created_at, id")]

        clips = tuple(_clip(**json.loads(document)) for document in self._database.read(task).result())
        known = {clip.id for clip in clips}
        for folder in self._folder.iterdir():
            if folder.name.startswith(CLIP_PREFIX) and folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        return clips

    def save(self, clip: Clip) -> Future[None]:
        def task(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO clips VALUES (?, ?, ?)",
                (clip.id, clip.created_at, json.dumps(asdict(clip))),
            )

        return self._database.write(task)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove the files of clips, which needs no room on a full disk, then forget them. Waits."""
        for clip_id in ids:
            self.discard(clip_id)
        self._database.write(
            lambda db: db.executemany("DELETE FROM clips WHERE id = ?", [(clip_id,) for clip_id in ids])
        ).result()

    def clear(self, clip: Clip) -> None:
        """Remove what nobody asks for any more: the upload of a clip that is done, or all of a failed one."""
        if clip.state is ClipState.FAILED:
            self.discard(clip.id)
        else:
            with suppress(OSError):  # the next start removes it
                self.source(clip.id).unlink(missing_ok=True)

    def discard(self, clip_id: str) -> None:
        """Remove the files of a clip that is not, or no longer, recorded."""
        shutil.rmtree(self.folder(clip_id), ignore_errors=True)

    def make_folder(self, clip_id: str) -> Path:
        folder = self.folder(clip_id)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise StorageError(f"cannot make a folder for a clip: {error.strerror}") from error
        return folder

    def folder(self, clip_id: str) -> Path:
        return self._folder / clip_id

    def source(self, clip_id: str) -> Path:
        return self.folder(clip_id) / SOURCE

    def free_bytes(self) -> int:
        """What the disk has left. Raises ``StorageError`` where the folder is not there."""
        try:
            return shutil.disk_usage(self._folder).free
        except OSError as error:
            raise StorageError(f"cannot look at the folder of clips: {error.strerror}") from error

    def result_bytes(self, clip_id: str) -> int:
        """What a clip takes on disk without its upload."""
        return sum(path.stat().st_size for path in self.folder(clip_id).glob("*") if path.name != SOURCE)


def _clip(video: dict[str, Any], options: dict[str, Any], state: str, **fields: Any) -> Clip:
    labels = options["labels"]
    return Clip(
        video=VideoFacts(**video),
        options=ClipOptions(
            RunSettings(**options["settings"]), tuple(labels) if labels is not None else None
        ),
        state=ClipState(state),
        **fields,
    )
