"""The command as a person gives it, on a network with random weights and tiny pictures."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.benchmark.subjects import STAGES
from service.benchmark.suite import Suite
from service.cli import status_of
from service.commands import benchmark
from service.errors import BenchmarkError
from tests.conftest import WriteVideo
from tests.service.api.conftest import until
from tests.service.program import alive, descendants

TINY = {
    "rounds": 2,
    "round_seconds": 0.05,
    "clip_frames": 8,
    "lengths": (1, 2),
    "events": 400,
    "streams": 1,
    "stream_seconds": 2.0,
    "step_seconds": 1.0,
    "subscribers": 4,
    "subscriber_seconds": 2.0,
}
HUNG_UP = """
import sys, time
from pathlib import Path
from service.commands.signals import terminate_as_interrupt

kept = Path(sys.argv[1])
with terminate_as_interrupt():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        kept.with_name("heard").touch()
        while not kept.with_name("go on").exists():
            time.sleep(0.01)
print("told to nobody", flush=True)
kept.write_text("42")
"""
"""What ``benchmark`` does when it is interrupted: it ends what it has started, prints, writes a file."""
DEAF = """
import os, signal
from service.commands.signals import terminate_as_interrupt

with terminate_as_interrupt():
    os.kill(os.getpid(), signal.SIGHUP)
print("done")
"""


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "QUICK", TINY)


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What ``benchmark --quick --json`` prints: one line, one object."""
    status = status_of(["benchmark", "--quick", "--json", *arguments])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    (line,) = captured.out.splitlines()
    result: dict[str, Any] = json.loads(line)
    assert result["machine"]["cores"] >= 1
    assert result["interrupted"] is False
    return result


def test_pipeline_and_its_stages(
    artifact: Path, write_video: WriteVideo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every candidate has its figures by name, and the allowance follows from those of the stages."""
    clip = write_video(count=30, size=(320, 240))
    figures = measured(
        capsys,
        *("--part", "pipeline", "--engine", "tensorflow", "--model", str(artifact), "--clip", str(clip)),
        *("-o", str(tmp_path / "out"), "--plot", str(tmp_path / "plot.png")),
    )
    assert figures["skipped"] == {}
    candidates = figures["frames"]["candidates"]
    assert set(candidates) == {"lecture_loop", "pipeline", *STAGES}
    assert candidates["lecture_loop"]["times_lecture_loop"]["median"] == 1
    assert all(row["fps"]["n"] == 2 and row["core_ms_per_frame"] > 0 for row in candidates.values())
    allowance = figures["frames"]["allowance"]
    cost = sum(candidates[stage]["core_ms_per_frame"] for stage in STAGES)
    assert allowance["core_ms_per_frame_of_all_stages"] == pytest.approx(cost, rel=1e-4)
    assert allowance["allowed_fps"] == pytest.approx(1000 * allowance["cores"] / cost, rel=1e-4)
    share = candidates["pipeline"]["fps"]["median"] / allowance["allowed_fps"]
    assert allowance["share_of_allowed"] == pytest.approx(share, rel=1e-3)
    assert figures["clip"]["frames"] == 30
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text()) == figures
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_longer_clips(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program itself is run over a clip that the benchmark has made, and over twice as much."""
    figures = measured(capsys, "--part", "growth", "--engine", "tensorflow", "--model", str(artifact))
    assert figures["clip"]["width"] == 1280
    runs = figures["growth"]["runs"]
    assert [run["frames"] for run in runs.values()] == [8, 16]
    for run in runs.values():
        assert run["first_frame_seconds"] is None or 0 < run["first_frame_seconds"] <= run["seconds"]
        assert run["peak_memory_mb"] > 50
        assert run["cpu_seconds"] > 0
    assert len(figures["growth"]["core_ms_per_further_frame"]) == 1


def test_streams_and_subscribers(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service itself is started with a camera of our own, and its subscribers hear labels.

    What the user has set for a service of his own (tokens, streams, webhooks) is not for this one.
    """
    tokens = [{"name": "me", "token": "at-least-16-characters", "scopes": ["view"]}]
    monkeypatch.setenv("VIDEO_EVENTS_TOKENS", json.dumps(tokens))
    figures = measured(
        capsys,
        *("--part", "streams", "--part", "subscribers"),
        *("--engine", "tensorflow", "--model", str(artifact)),
    )
    assert figures["skipped"] == {}
    held = figures["streams"]["held"]
    assert held["streams"] == 1
    assert held["labels_per_second"]["all"] > 0
    assert held["latency_ms"]["p50"] > 0
    assert held["restarts"] == 0
    assert figures["streams"]["ready_seconds"] > 0
    steps = figures["subscribers"]["steps"]
    assert [step["subscribers"] for step in steps] == [1, 2, 4]
    assert all(step["pictures_per_second_least"] > 0 for step in steps)


def test_table_then_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json a person reads a table first; the last line is for programs all the same."""
    assert status_of(["benchmark", "--quick", "--part", "events"]) == 0
    out = capsys.readouterr().out
    assert "log of 400 events" in out
    assert json.loads(out.splitlines()[-1])["events"]["events"] == 400


def test_ctrl_c_keeps_what_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has waited half an hour and gives up gets the figures until then, and the status of Ctrl-C."""

    def interrupted(suite: Suite, folder: Path) -> None:
        suite.result["events"] = {"events": 1, "query_ms": {}}
        raise KeyboardInterrupt

    monkeypatch.setattr(Suite, "_events", interrupted)
    assert status_of(["benchmark", "--part", "events", "--json"]) == 130
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["interrupted"] is True
    assert result["events"]["events"] == 1
    assert "interrupted" in captured.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end_leaves_no_process_behind(artifact: Path, number: signal.Signals) -> None:
    """Who kills a benchmark politely gets what Ctrl-C gives, and no service or camera goes on without it."""
    arguments = ["--part", "streams", "--engine", "tensorflow", "--model", str(artifact)]
    with subprocess.Popen(
        [sys.executable, "-m", "service", "benchmark", "--quick", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        started: list[int] = []
        try:
            until(lambda: len(descendants(program.pid)) > 2, 120)  # the camera, the service and its own
            started = descendants(program.pid)
            program.send_signal(number)
            output, errors = program.communicate(timeout=60)
            until(lambda: not alive(started), 30)
        finally:
            for pid in alive(started):
                os.kill(pid, signal.SIGKILL)
            program.kill()
    assert program.returncode == 130, errors
    assert json.loads(output)["interrupted"] is True
    assert "interrupted" in errors


def test_figures_outlast_the_terminal(tmp_path: Path) -> None:
    """A connection that breaks sends SIGHUP, twice with a shell; what is told to nobody costs no file."""
    kept = tmp_path / "figures"
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", HUNG_UP, str(kept)], stdin=terminal, stdout=terminal, stderr=terminal
    ) as program:
        os.close(terminal)
        assert os.read(ours, 100).strip() == b"ready"
        os.close(ours)
        program.send_signal(signal.SIGHUP)
        until(lambda: (tmp_path / "heard").exists())
        program.send_signal(signal.SIGHUP)
        (tmp_path / "go on").touch()
        assert program.wait(60) == 0
    assert kept.read_text() == "42"


def test_nohup_is_respected() -> None:
    """What is to outlive its terminal does, whatever it would do of itself."""
    with subprocess.Popen(
        [sys.executable, "-c", DEAF], stdout=subprocess.PIPE, preexec_fn=ignore_hangup
    ) as program:
        assert program.communicate(timeout=60)[0] == b"done\n"
    assert program.returncode == 0


def test_a_failure_keeps_what_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that cannot be measured costs none of those before it."""

    def failing(suite: Suite, folder: Path) -> None:
        suite.result["events"] = {"events": 1, "query_ms": {}}
        raise BenchmarkError("no room")

    monkeypatch.setattr(Suite, "_events", failing)
    assert status_of(["benchmark", "--part", "events", "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["events"]["events"] == 1
    assert captured.err == "video-events: no room\n"


@pytest.mark.parametrize(("arguments", "status"), [(["--part", "events", "--part", "growth"], 2), ([], 0)])
def test_a_part_that_was_asked_for_and_skipped_is_an_error(
    arguments: list[str],
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A script that wants one figure is told that there is none; who wants all gets what there is."""

    def run(suite: Suite) -> None:
        suite.result["events"] = {"events": 1, "query_ms": {}}
        suite.result["skipped"]["growth"] = "no ffmpeg"

    monkeypatch.setattr(Suite, "run", run)
    assert status_of(["benchmark", "--json", *arguments]) == status
    captured = capsys.readouterr()
    assert json.loads(captured.out)["skipped"] == {"growth": "no ffmpeg"}
    assert captured.err == ("video-events: growth could not be measured: no ffmpeg\n" if status else "")


def test_a_fault_keeps_what_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour of figures is not lost to an error that nobody has thought of."""

    def failing(suite: Suite, folder: Path) -> None:
        suite.result["events"] = {"events": 1, "query_ms": {}}
        raise LookupError("unheard of")

    monkeypatch.setattr(Suite, "_events", failing)
    assert status_of(["benchmark", "--part", "events", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["events"]["events"] == 1
    assert "LookupError: unheard of" in captured.err


def test_figures_come_before_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be written costs itself, not what would have stood in it."""
    (tmp_path / "benchmark.json").mkdir()
    assert status_of(["benchmark", "--quick", "--part", "events", "-o", str(tmp_path), "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["events"]["events"] == 400
    assert "cannot write into" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "nonsense"], "nonsense"),
        (["--rounds", "0"], "--rounds must be above 0 and finite, got 0"),
        (["--minutes", "-1"], "--minutes must be above 0"),
        (["--minutes", "inf"], "--minutes must be above 0 and finite, got inf"),
        (["--clip", "absent.mp4", "--part", "pipeline"], "there is no such file"),
        (["--model", "absent"], "no model 'absent'"),
        (["--plot", "x.foo"], "name it .png or .svg"),
        (["--plot", "x.png", "--part", "growth", "--part", "events"], "--plot draws the parts pipeline, eng"),
        (["--plot", "nowhere/x.png"], "--plot nowhere/x.png: cannot be written"),
        (["-o", __file__], "cannot write into"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be measured is told in one line before anything begins."""
    assert status_of(["benchmark", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
