from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from service.benchmark import Part, suite
from service.benchmark.clip import Clip
from service.benchmark.rounds import Candidate
from service.benchmark.suite import Settings, Suite
from service.errors import BenchmarkError, StorageError
from tests.conftest import WriteVideo


def test_a_part_that_fails_costs_none_after_it(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without room for a million events says nothing of live streams."""

    def full(*_: object) -> None:
        raise StorageError("database or disk is full")

    def live(suite: Suite, clip: Clip, folder: Path) -> None:
        suite.result["streams"] = {"rate": 5.0}

    monkeypatch.setattr(suite, "measure_queries", full)
    monkeypatch.setattr(Suite, "_live", live)
    measured = Suite(Settings(parts=(Part.EVENTS, Part.STREAMS), clip=write_video(count=20)))
    measured.run()
    assert measured.result["skipped"] == {"events": "database or disk is full"}
    assert measured.has_measured


def test_engines_of_which_none_works_are_skipped_as_a_part(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them that is not installed is no news; none at all is."""

    def none(candidates: Iterable[Candidate], *rest: Any) -> None:
        rest[2].skipped |= {candidate.name: "not installed" for candidate in candidates}

    monkeypatch.setattr(suite, "in_own_process", lambda work: None)
    monkeypatch.setattr(suite, "run_rounds", none)
    measured = Suite(Settings(parts=(Part.ENGINES,), clip=write_video(count=20)))
    measured.run()
    assert measured.result["skipped"]["engines"] == "none of them could be measured"


def test_temporary_files_of_killed_processes_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow and ONNX Runtime leave some where they are killed."""
    made: list[Path] = []

    def events(suite: Suite, folder: Path) -> None:
        make = "import tempfile; print(tempfile.mkstemp()[1])"
        made.append(Path(subprocess.check_output([sys.executable, "-c", make], text=True).strip()))
        assert made[0].is_file()

    monkeypatch.setattr(Suite, "_events", events)
    Suite(Settings(parts=(Part.EVENTS,))).run()
    assert not made[0].exists()


@pytest.mark.parametrize("source", ["clip.mp4", "0", "rtsp://[", "rtsp://user:secret@"])
def test_what_is_no_address_is_told_at_once(source: str) -> None:
    """Streams come last: nobody waits half an hour to read of a slip of the pen. Passwords are not told."""
    with pytest.raises(BenchmarkError, match="--source wants the address of a stream") as caught:
        Suite(Settings(sources=(source,)))
    assert "secret" not in str(caught.value)
