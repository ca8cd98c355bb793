from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from service.errors import SinkError
from service.sinks.event_files import (
    EventReport,
    read_events,
    to_csv,
    to_json,
    to_vtt,
    write_event_files,
    written_for,
)
from service.types import EndReason, Event

EVENTS = (
    Event("clip-000001", "clip", "badminton", 1 / 3, 12.00049, 0.987654, 0.9, 0.8666, EndReason.LABEL_CHANGE),
    Event(
        "clip-000002", "clip", 'a <b> & épée, "x"', 3725.5, 3725.5, 1.0, 0.61, 0.5, EndReason.END_OF_STREAM
    ),
)


def report(window_seconds: float | None = None) -> EventReport:
    window = None if window_seconds else 32
    return EventReport("clip.mp4", "sports 1", window, window_seconds, 360, 30000 / 1001, 12.012, EVENTS)


def test_json_has_the_published_shape() -> None:
    """Programs that read the event list find exactly the documented fields, rounded."""
    document = json.loads(to_json(report()))
    assert list(document) == ["source", "model", "window", "frames", "fps", "duration", "events"]
    assert document["fps"] == 29.97003
    assert document["events"][0] == {
        "id": "clip-000001",
        "label": "badminton",
        "start_pts": 0.333,
        "end_pts": 12.0,
        "peak_confidence": 0.9877,
        "mean_confidence": 0.9,
        "detect_delay": 0.867,
        "end_reason": "label_change",
    }


def test_window_in_seconds_is_recorded() -> None:
    """A run with a window in seconds can be told from one with a window in frames."""
    document = json.loads(to_json(report(window_seconds=2.0)))
    assert document["window"] is None
    assert document["window_seconds"] == 2.0


def test_csv_round_trip() -> None:
    """Labels with commas, quotes and accents survive a spreadsheet."""
    rows = list(csv.DictReader(io.StringIO(to_csv(EVENTS))))
    assert [row["label"] for row in rows] == [event.label for event in EVENTS]
    assert rows[0]["start_pts"] == "0.333"


def test_vtt_is_valid() -> None:
    """Subtitles have the times of the events, no cue of zero length and no stray markup."""
    text = to_vtt(EVENTS)
    assert text.startswith("WEBVTT\n\n")
    assert "00:00:00.333 --> 00:00:12.000\nbadminton (90%)" in text
    assert "01:02:05.500 --> 01:02:05.501\na &lt;b&gt; &amp; épée" in text
    assert to_vtt(()) == "WEBVTT\n"


def test_writes_three_whole_files(tmp_path: Path) -> None:
    """The three files appear under their names, the same bytes each time, with nothing beside them."""
    first = [path.read_bytes() for path in write_event_files(tmp_path, "clip", report())]
    assert first == [path.read_bytes() for path in write_event_files(tmp_path, "clip", report())]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "clip.events.csv",
        "clip.events.json",
        "clip.events.vtt",
    ]


def test_events_are_read_back(tmp_path: Path) -> None:
    """As they were written; what a process that was taken over may have left instead is no list of events."""
    path, *_ = write_event_files(tmp_path, "clip", report())
    events = read_events(path, "clip")
    assert to_csv(events) == to_csv(EVENTS)
    assert [event.stream for event in events] == ["clip", "clip"]
    for text in ("", "[]", "{}", '{"events": [1]}', '{"events": [{"id": 1}]}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match="not a list of events"):
            read_events(path, "clip")


def test_unwritable_place_is_told(tmp_path: Path) -> None:
    """A directory that is not there is one clear error."""
    with pytest.raises(SinkError, match=r"cannot write .*clip\.events\.json"):
        write_event_files(tmp_path / "nowhere", "clip", report())


def test_knows_its_own_files(tmp_path: Path) -> None:
    """Only an event list that this program wrote for this source may be replaced unasked."""
    path = write_event_files(tmp_path, "clip", report())[0]
    assert written_for(path, "clip.mp4")
    assert not written_for(path, "clip.mov")
    path.write_text('{"video": "clip.mp4", "events": []}')
    assert not written_for(path, "clip.mp4")
    path.write_text("[]")
    assert not written_for(path, "clip.mp4")
    assert not written_for(tmp_path / "missing", "clip.mp4")
