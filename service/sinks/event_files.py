"""The list of events as JSON, CSV and WebVTT.

The bytes follow from the events alone: no clock, no machine, fixed rounding (times to the millisecond,
confidences to four digits). Each file is written beside its name and renamed, so it is whole or absent.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from service.checking import checked
from service.errors import SinkError
from service.types import Event

if TYPE_CHECKING:
    from service.config import RunSettings
    from service.pipeline import RunResult

SUFFIXES: Final = (".events.json", ".events.csv", ".events.vtt")
FIELDS: Final = (
    "id",
    "label",
    "start_pts",
    "end_pts",
    "peak_confidence",
    "mean_confidence",
    "detect_delay",
    "end_reason",
)
_PART: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class EventReport:
    """What the files tell; ``fps`` in frames per second, ``duration`` in seconds.

    ``window`` is the length of the rolling average in frames, or ``None`` where ``window_seconds``
    gives it in seconds. ``digest`` is that of a source that is a file (see ``digest_of``) or many images.
    """

    source: str
    model: str
    window: int | None
    window_seconds: float | None
    frames: int
    fps: float
    duration: float
    events: Sequence[Event]
    digest: str | None = None

    @classmethod
    def of(
        cls, source: str, model: str, settings: RunSettings, result: RunResult, digest: str | None = None
    ) -> EventReport:
        """The report of a run, for the name of its ``source`` and of the ``model``."""
        return cls(
            source=source,
            model=model,
            window=None if settings.window_seconds is not None else settings.window,
            window_seconds=settings.window_seconds,
            frames=result.frames,
            fps=result.fps,
            duration=result.duration,
            events=result.events,
            digest=digest,
        )

    def document(self) -> dict[str, Any]:
        """The report as the JSON document, rounded."""
        document: dict[str, Any] = {"source": self.source}
        if self.digest is not None:
            document["source_digest"] = self.digest
        document |= {"model": self.model, "window": self.window}
        if self.window_seconds is not None:
            document["window_seconds"] = self.window_seconds
        document |= {
            "frames": self.frames,
            "fps": round(self.fps, 6),
            "duration": round(self.duration, 3),
            "events": [_row(event) for event in self.events],
        }
        return document


def write_event_files(directory: Path, stem: str, report: EventReport) -> tuple[Path, ...]:
    """Write ``<stem>.events.json``, ``.csv`` and ``.vtt``; raises ``SinkError`` if one cannot be written."""
    texts = (to_json(report), to_csv(report.events), to_vtt(report.events))
    paths = tuple(directory / (stem + suffix) for suffix in SUFFIXES)
    for path, text in zip(paths, texts, strict=True):
        _replace(path, text)
    return paths


def digest_of(file: Path) -> str:
    """Tells a file from others of its name: by its size, its first and its last megabyte. Raises OSError."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        found = hashlib.blake2b(str(size).encode(), digest_size=16)
        for start in (0, max(0, size - _PART)):
            opened.seek(start)
            found.update(opened.read(_PART))
    return found.hexdigest()


def written_for(path: Path, source: str, digest: str | None = None) -> bool:
    """Whether ``path`` is an event list of this program for ``source``: one that a new run may replace."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(document, dict)
        and {"model", "window", "frames", "events"} <= document.keys()
        and document.get("source") == source
        and document.get("source_digest") == digest
    )


def read_events(path: Path, stream: str) -> tuple[Event, ...]:
    """The events of a stream from their JSON file, rounded as there.

    Raises ``OSError`` where there is no such file, ``ValueError`` where it is not one of this program.
    """
    try:
        rows = json.loads(path.read_bytes())["events"]
        return tuple(checked(Event, {**row, "stream": stream}) for row in rows)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not a list of events") from error


def to_json(report: EventReport) -> str:
    return json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n"


def to_csv(events: Sequence[Event]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(event) for event in events)
    return text.getvalue()


def to_vtt(events: Sequence[Event]) -> str:
    """WebVTT subtitles (W3C): one cue per event, saying its label and mean confidence."""
    cues = ["WEBVTT\n"]
    for event in events:
        start = _milliseconds(event.start_pts)
        end = max(start + 1, _milliseconds(event.end_pts or 0.0))  # a cue without length is not allowed
        label = event.label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"{_timestamp(start)} --> {_timestamp(end)}\n{label} ({event.mean_confidence:.0%})\n")
    return "\n".join(cues)


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "label": event.label,
        "start_pts": round(event.start_pts, 3),
        "end_pts": None if event.end_pts is None else round(event.end_pts, 3),
        "peak_confidence": round(event.peak_confidence, 4),
        "mean_confidence": round(event.mean_confidence, 4),
        "detect_delay": round(event.detect_delay, 3),
        "end_reason": None if event.end_reason is None else str(event.end_reason),
    }


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _timestamp(milliseconds: int) -> str:
    seconds, millisecond = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}.{millisecond:03}"


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SinkError(f"cannot write {path}: {error.strerror or error}") from error
