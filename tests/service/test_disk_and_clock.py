"""A full disk and a clock that jumps: streams go on, and no event is lost or doubled by either."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.api.conftest import make_clip, serving, until
from tests.service.live import OPTIONS, ColourModel, Follower, check_lives, events_of, stream
from tests.service.program import ROOT, program

DAY = 86_400
WALL_CLOCK = """
import os, time
from pathlib import Path

def jumping(real=time.time, offset=Path(os.environ["WALL_CLOCK"])):
    return real() + float(offset.read_text() or 0)

time.time = jumping
"""
"""In every process of the service: the seconds in a file are added to the wall clock, to no other clock."""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; skips where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "film.avi", (["red"] * 8 + ["blue"] * 8) * 100)


def test_full_disk(tmp_path: Path, film: Path) -> None:
    """Labels go on, uploads are refused with a reason, and the events of that time are there afterwards."""
    streams = {"door": {"source": str(film), **OPTIONS}}
    with small_disk(tmp_path / "disk", "24m") as disk:
        with (
            serving(disk / "data", ColourModel(), streams=streams) as served,
            Follower(served, "/events?after=0") as events,
            Follower(served, "/streams/door/labels?mode=lossless") as labels,
        ):
            until(lambda: len(events.messages("event")) > 2)
            filler = disk / "filler"
            fill(filler)
            known = len(events_of(served, "door"))
            before = labels.messages("label")[-1]["pts"]
            until(lambda: labels.messages("label")[-1]["pts"] > before + 5, 60)
            assert stream(served, "door")["state"] == "live"
            assert served.client.get("/healthz").status_code == 200
            refused = served.upload(film)
            assert refused.status_code == 507, refused.text
            assert str(disk) not in refused.text
            held = len(events_of(served, "door")) - known
            filler.unlink()
            until(lambda: len(events_of(served, "door")) > known + held + 4, 60)
            told = events.messages("event")
            log = events_of(served, "door")
        check_lives(log)
        assert [one["seq"] for one in log] == list(range(1, len(log) + 1))
        assert [one["position"] for one in told] == [one["position"] for one in log[: len(told)]]
        ended = [one["event"] for one in log if one["phase"] == "ended"]
        for earlier, later in itertools.pairwise(ended):
            assert later["start_pts"] - earlier["end_pts"] < 1.0  # none is missing in between


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_clock_jumps(tmp_path: Path, film: Path) -> None:
    """The wall clock is set a day forward, then two back: events go on and keep their lengths and order."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(WALL_CLOCK)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "WALL_CLOCK": str(clock)}
    streams = {"door": {"source": str(film), **OPTIONS}}
    with (
        program(tmp_path, model="quick", environment=environment, streams=streams) as service,
        Follower(service, "/streams/door/labels?rate=5") as labels,
    ):

        def messages() -> list[dict[str, Any]]:
            page = httpx.get(f"{service.url}/events", params={"limit": 1000}, timeout=30).json()
            found: list[dict[str, Any]] = page["messages"]
            return found

        until(service.ready)
        until(lambda: len(messages()) > 4, 60)
        for offset in (DAY, -DAY):
            clock.write_text(str(offset))
            known = len(messages())
            told = len(labels.messages("label"))
            until(lambda: len(messages()) > known + 6, 60)  # noqa: B023
            assert len(labels.messages("label")) > told + 2
            shown = httpx.get(f"{service.url}/streams/door").json()
            assert (shown["state"], shown["restarts"]) == ("live", 0)
            recorded = datetime.fromisoformat(messages()[-1]["recorded_at"]).timestamp()
            assert abs(recorded - time.time() - offset) < DAY / 2  # or the clock was not changed at all
        log = messages()
        check_lives(log)
        assert [one["seq"] for one in log] == list(range(1, len(log) + 1))
        for one in log:
            event = one["event"]
            if event["end_pts"] is not None:
                assert 0.3 <= event["end_pts"] - event["start_pts"] < 3
