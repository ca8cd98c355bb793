"""The shipped model on real and rendered video, from the command line to the event files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.artifact import list_artifacts
from service.cli import status_of

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "example_clips").glob("*.expected.json"))
TOLERANCE = 1.0
"""Seconds by which a start or an end may miss the truth."""

pytestmark = [
    pytest.mark.skipif("sports" not in list_artifacts(), reason="the model 'sports' is not in this checkout"),
    pytest.mark.timeout(1800),
]


def recognise(clip: Path, output: Path, *options: str) -> dict:
    assert status_of(["run", str(clip), "-o", str(output), *options]) == 0
    report: dict = json.loads((output / f"{clip.stem}.events.json").read_text())
    return report


def assert_same_events(found: list[dict], expected: list[dict]) -> None:
    assert [event["label"] for event in found] == [event["label"] for event in expected]
    for event, truth in zip(found, expected, strict=True):
        assert event["start_pts"] == pytest.approx(truth["start"], abs=TOLERANCE)
        assert event["end_pts"] == pytest.approx(truth["end"], abs=TOLERANCE)


@pytest.mark.parametrize("expected", EXAMPLES, ids=lambda path: path.stem.removesuffix(".expected"))
def test_example_clips_are_recognised(expected: Path, tmp_path: Path) -> None:
    """Every clip that ships gives its true events, and no other, within a second."""
    clip = expected.with_name(json.loads(expected.read_text())["video"])
    report = recognise(clip, tmp_path, "--no-video")
    assert_same_events(report["events"], json.loads(expected.read_text())["events"])


def test_the_program_of_the_readme() -> None:
    """What stands under "From Python" runs as it is written, and finds what is in the clip."""
    _, _, section = (ROOT / "README.md").read_text(encoding="utf-8").partition("### From Python")
    program = section.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    label, start, end, _ = done.stdout.split()
    truth = {"label": "volleyball", "start": 0.0, "end": 8.0}
    assert_same_events([{"label": label, "start_pts": float(start), "end_pts": float(end)}], [truth])


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of one clip cannot be told apart by their event files, whatever the batches were."""
    clip = ROOT / "example_clips" / "formula1.mp4"
    for name in ("one", "two"):
        recognise(clip, tmp_path / name, "--every", "3")
    for suffix in ("events.json", "events.csv", "events.vtt"):
        first, second = ((tmp_path / name / f"formula1.{suffix}").read_bytes() for name in ("one", "two"))
        assert first == second


@pytest.mark.xfail(strict=False, reason="sports 4 takes the volleyball hall of this clip for fencing")
def test_a_cut_through_four_sports(clips: Path, tmp_path: Path) -> None:
    """Six real segments one after another: each is found, in order, within a second, and nothing else."""
    clip = clips / "multi_sport" / "dev_bvf_6seg.mp4"
    truth = json.loads(clip.with_suffix(".events.json").read_text())["events"]
    report = recognise(clip, tmp_path, "--no-video")
    assert_same_events(report["events"], truth)


def test_real_clips(clips: Path, tmp_path: Path) -> None:
    """How many real clips get their label, and others no event, does not fall below what sports 4 reached,
    but for what processors differ in. The gate keeps frames from the network that look like the last one.

    The aim is 0.85, 0.8 and a tenth of the changes of single frames; models/README.md has the figures.
    """
    command = [sys.executable, "-m", "tests.clips_report", "--clips", str(clips), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(json.dumps({name: value for name, value in report.items() if name != "rows"}))
    wrong = [(row["file"], row["events"]) for row in report["rows"] if row["counts"] and not row["right"]]
    assert report["clips_right"] >= 0.7, wrong
    assert report["negative_without_event"] >= 0.6, wrong
    changed = {row["file"] for row in report["rows"] if not row["same_with_gate"]}
    assert len(changed) <= 1, changed
    assert report["smoothed_changes_per_minute"] <= min(12, report["alone_changes_per_minute"] / 7.5)


def robust_files() -> list[str]:
    table = ROOT.parent / "shared" / "clips" / "clips.csv"
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return [row["file"] for row in csv.DictReader(file) if row["file"].startswith("robust/")]


def test_damaged_and_odd_files(clips: Path, tmp_path: Path) -> None:
    """Each gives a result, or one clear line and status 2 or 3; never a traceback, a hang or a leftover."""
    names = robust_files()
    assert names
    for number, name in enumerate(names):
        output = tmp_path / str(number)
        command = [sys.executable, "-m", "service", "run", "-o", str(output), "--every", "8", "--json"]
        done = subprocess.run(
            [*command, "--", str(clips / name)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = done.stderr.strip().splitlines()
        assert done.returncode in (0, 2, 3), (name, done.returncode, lines)
        assert len(lines) == (done.returncode != 0), (name, lines)
        assert "Traceback" not in done.stderr
        files = sorted(path.name for path in output.iterdir()) if output.exists() else []
        assert len(files) == (0 if done.returncode == 2 else 4), (name, files)
        assert not [file for file in files if "part" in Path(file).suffix]
        if done.returncode != 2:
            assert json.loads(done.stdout)["frames"] > 0
