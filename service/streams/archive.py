"""The recordings on disk: a folder for each stream, which outlives it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.errors import StorageError, StreamNotFoundError
from service.streams.recording_file import SUFFIX, adopt
from service.streams.records import NAME

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """``finished_at`` in Unix seconds."""

    path: Path
    bytes: int
    finished_at: float


class Archive:
    """Recordings of all streams together are kept for ``keep_seconds``, up to ``most_bytes``, and only while
    ``free_bytes`` of the disk stay free.
    """

    def __init__(self, folder: Path, keep_seconds: float, most_bytes: int, free_bytes: int = 0) -> None:
        self._folder = folder
        self._keep_seconds = keep_seconds
        self._most_bytes = most_bytes
        self._free_bytes = free_bytes

    def folder(self, name: str) -> Path:
        """Where a stream's recordings are; made when the first one begins.

        Raises ``StreamNotFoundError`` for what cannot be a stream's name, and so must not become a path.
        """
        if not NAME.fullmatch(name):
            raise StreamNotFoundError("there is no stream of this name")
        return self._folder / name

    def files(self, name: str) -> tuple[RecordedFile, ...]:
        """What is finished, the newest first."""
        return _found(self.folder(name), f"*{SUFFIX}")

    def has(self, name: str) -> bool:
        """Whether there is anything of a stream, finished or not."""
        return self.folder(name).is_dir()

    def delete(self, name: str) -> None:
        """Remove all recordings of a stream that is not there any more. Raises ``StorageError``."""
        try:
            shutil.rmtree(self.folder(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"the recordings of {name} cannot be removed: {error.strerror}") from error

    def tidy(self, now: float, streams: Collection[str]) -> None:
        """Remove what is too old, the oldest of what is too much, and empty folders of none of ``streams``.

        What killed processes left of other streams is finished first. What ``streams`` are still writing
        neither counts nor goes. What cannot be removed is logged.
        """
        for folder in self._folder.glob("*/"):
            if folder.name not in streams:
                adopt(folder)
        finished = _found(self._folder, f"*/*{SUFFIX}")
        kept, free = 0, shutil.disk_usage(self._folder).free if finished else 0
        for file in finished:
            kept += file.bytes
            if kept > self._most_bytes or file.finished_at < now - self._keep_seconds:
                free += _remove(file)
        for file in reversed(finished):
            if free >= self._free_bytes:
                break
            free += _remove(file)
        for folder in self._folder.glob("*"):
            if folder.name not in streams:
                with suppress(OSError):  # there is something in it still
                    folder.rmdir()


def _remove(file: RecordedFile) -> int:
    """Returns the bytes that are free again."""
    try:
        file.path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        logger.warning("the recording %s cannot be removed: %s", file.path, error)
        return 0
    return file.bytes


def _found(folder: Path, pattern: str) -> tuple[RecordedFile, ...]:
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):  # it was finished or removed meanwhile
            facts = path.stat()
            found.append(RecordedFile(path, facts.st_size, facts.st_mtime))
    return tuple(sorted(found, key=lambda file: file.finished_at, reverse=True))
