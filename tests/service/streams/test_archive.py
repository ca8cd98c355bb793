"""Which recordings are kept, and which go."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from fractions import Fraction
from pathlib import Path

import pytest

from service.sinks.avi import AviWriter
from service.sinks.mjpg_file import encode_jpeg
from service.streams.archive import Archive
from tests.service.fakes import scene

NOW = 1_800_000_000.0
Usage = namedtuple("Usage", "total used free")


def recorded(path: Path, size: int, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (NOW - age, NOW - age))
    return path


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_old_and_too_many_go(tmp_path: Path) -> None:
    """The oldest first, of all streams together; a folder of no stream goes with its last file."""
    recorded(tmp_path / "a" / "1.avi", 400, age=50)
    recorded(tmp_path / "b" / "2.avi", 400, age=20)
    recorded(tmp_path / "a" / "3.avi", 400, age=10)
    recorded(tmp_path / "gone" / "4.avi", 10, age=200)
    Archive(tmp_path, 100, 1000).tidy(NOW, ("a", "b"))
    assert left(tmp_path) == ["a/3.avi", "b/2.avi"]
    assert not (tmp_path / "gone").exists()


def test_what_is_being_written_neither_goes_nor_drives_others_out(tmp_path: Path) -> None:
    """However large: it would go on growing without a name."""
    recorded(tmp_path / "a" / "now.avi.part", 5000)
    recorded(tmp_path / "b" / "2.avi", 400, age=20)
    Archive(tmp_path, 100, 1000).tidy(NOW, ("a", "b"))
    assert left(tmp_path) == ["a/now.avi.part", "b/2.avi"]


def test_what_a_killed_process_left_of_no_stream_is_finished(tmp_path: Path) -> None:
    """Nobody else would ever give it its name."""
    part = tmp_path / "gone" / "1.avi.part"
    part.parent.mkdir()
    with part.open("wb") as file:
        writer = AviWriter(file, 64, 48, Fraction(10))
        writer.write(encode_jpeg(scene("red", 64, 48)))
        writer.flush()
    archive = Archive(tmp_path, 1e12, 1 << 30)
    assert archive.has("gone")
    archive.tidy(NOW, ("a",))
    assert [file.path.name for file in archive.files("gone")] == ["1.avi"]


def test_a_disk_that_is_nearly_full_gets_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest recordings make it, no more of them than needed."""
    for number in range(4):
        recorded(tmp_path / "a" / f"{number}.avi", 100, age=50 - number)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 850, 150))
    Archive(tmp_path, 100, 1000, free_bytes=300).tidy(NOW, ("a",))
    assert left(tmp_path) == ["a/2.avi", "a/3.avi"]


def test_one_that_cannot_be_removed_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log; the others go."""
    (tmp_path / "a" / "folder.avi").mkdir(parents=True)
    os.utime(tmp_path / "a" / "folder.avi", (0, 0))
    recorded(tmp_path / "a" / "1.avi", 100, age=500)
    Archive(tmp_path, 100, 1000).tidy(NOW, ("a",))
    assert left(tmp_path) == []
    assert "folder.avi cannot be removed" in caplog.text
