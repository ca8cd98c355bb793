"""The files of a run: what they are called, and what of other things they may replace."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from service.errors import ConfigurationError, SinkError
from service.sinks.event_files import SUFFIXES, EventReport, digest_of, write_event_files, written_for
from service.sources import exists, redact
from service.sources.images import find_images

VIDEO_SUFFIX: Final = "_events.avi"
LONGEST_NAME: Final = 255
"""Bytes that a file system takes for the name of a file."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What comes of one source: files in ``directory`` whose names begin with ``stem``.

    ``name`` and ``digest`` tell the source from others; ``file`` is where it lies, if it lies on a disk.
    """

    directory: Path
    stem: str
    name: str
    digest: str | None
    file: Path | None

    @classmethod
    def of(cls, source: str, directory: Path) -> Self:
        file = local_path(source)
        return cls(directory, output_stem(source), display_name(source), source_digest(file), file)

    @property
    def video(self) -> Path:
        return self._path(VIDEO_SUFFIX)

    def check(self, *, with_video: bool, overwrite: bool) -> None:
        """Refuse, before any work, to write over the source or over files that are not results for it.

        What an address or a device shows is another thing each time, so its results are never replaced
        unasked. Raises ``ConfigurationError`` for these, ``SinkError`` for a directory that cannot be
        written.
        """
        if len(os.fsencode(f"{self.stem}{SUFFIXES[0]}.part")) > LONGEST_NAME:
            raise ConfigurationError(f"{self.name} is too long a name for results to be called so; rename it")
        suffixes = (*SUFFIXES, VIDEO_SUFFIX) if with_video else SUFFIXES
        existing = [path for suffix in suffixes if (path := self._path(suffix)).exists()]
        for path in existing:
            if path.is_dir():
                raise ConfigurationError(
                    f"{path} is a directory; choose another place for results with --output"
                )
            if self.file and exists(self.file) and path.samefile(self.file):
                raise ConfigurationError(
                    f"{path} is the source itself; choose another directory with --output"
                )
        is_same = self.digest is not None and written_for(self._path(SUFFIXES[0]), self.name, self.digest)
        if existing and not overwrite and not is_same:
            raise ConfigurationError(
                f"{existing[0]} exists and is not known to be a result for this {self.name}; "
                "choose another directory with --output, or say --overwrite"
            )
        if self.directory.exists() and not self.directory.is_dir():
            raise ConfigurationError(f"--output {self.directory} is not a directory")
        if self.directory.is_dir() and not os.access(self.directory, os.W_OK | os.X_OK):
            raise SinkError(f"cannot write into {self.directory}: permission denied")

    def make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the directory {self.directory}: {error.strerror}") from error

    def write_events(self, report: EventReport) -> tuple[Path, ...]:
        """Write the lists of events; raises ``SinkError``."""
        self.make_directory()
        return write_event_files(self.directory, self.stem, report)

    def _path(self, suffix: str) -> Path:
        return self.directory / (self.stem + suffix)


def display_name(source: str) -> str:
    """The file's name without its folders, or the address without credentials."""
    path = local_path(source)
    if path is None and "://" in source:
        return redact(source)
    return (path or Path(source)).name or source


def output_stem(source: str) -> str:
    """What output names begin with: the file's stem, or what an address ends in.

    Addresses that differ in their query only are told apart by some digits made of it: it may hold secrets.

    >>> output_stem("a/match.final.mp4"), output_stem("rtsp://me:secret@cam:554/hall/1"), output_stem("0")
    ('match.final', 'cam_hall_1', 'camera0')
    >>> output_stem("http://cam/live.mjpg?camera=2&token=secret"), output_stem("file:///a/my%20match.mp4")
    ('cam_live_0e2015', 'my match')
    """
    file = local_path(source)
    if file is None and "://" in source:
        parts = urlsplit(source)
        path = PurePosixPath(parts.path)
        place = f"{parts.hostname or ''}{path.parent / path.stem}"
        stem = re.sub(r"[^\w.-]+", "_", place).strip("_.") or "stream"
        query = blake2b(parts.query.encode(), digest_size=3).hexdigest()
        return f"{stem}_{query}" if parts.query else stem
    if file is None and source.isdigit():
        return f"camera{source}"
    file = file or Path(source)
    return file.stem or file.resolve().name or "video"


def source_digest(path: Path | None) -> str | None:
    """Of a file, or of images by their place, names and sizes; None for all else, as what is not there."""
    try:
        if path is None or path.is_file():
            return digest_of(path) if path else None
        images = [f"{image.name} {image.stat().st_size}" for image in find_images(path)]
        told = "\n".join([str(path.absolute()), *images])
        return blake2b(os.fsencode(told), digest_size=16).hexdigest() if images else None
    except OSError:  # opening it will tell
        return None


def local_path(source: str) -> Path | None:
    """Where a source lies on a disk of this machine; None for addresses and devices."""
    path = Path(source)
    if not exists(path):
        if source.lower().startswith("file://"):
            path = Path(unquote(urlsplit(source).path))
        elif "://" in source or source.isdigit():
            return None
    return None if exists(path) and path.is_char_device() else path
