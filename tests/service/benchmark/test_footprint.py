from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.benchmark import footprint
from service.benchmark.clip import Clip
from service.benchmark.footprint import Run, measure_growth
from service.benchmark.report import show
from service.engines import Engine


def grown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *firsts: float | None, interrupted: bool = False
) -> dict[str, Any]:
    """Figures of runs with these times to the first frame; a frame costs 20 core-ms, the start 2 s.

    ``interrupted`` there is Ctrl-C instead of the last.
    """
    runs = iter(firsts)

    def pretend(clip: Path, frames: int, *_: object) -> Run:
        if interrupted and frames == 100 * len(firsts):
            raise KeyboardInterrupt
        return Run(frames, 2 + 0.02 * frames, next(runs), 10.0, 300_000_000)

    def lengthened(clip: Clip, folder: Path, times: int) -> Path:
        path = folder / f"{times}.mp4"
        path.touch()
        return path

    monkeypatch.setattr(footprint, "run_program", pretend)
    monkeypatch.setattr(footprint, "lengthen", lengthened)
    clip = Clip(tmp_path / "clip.mp4", 64, 48, 25.0, 100, "MJPG")
    figures: dict[str, Any] = {}
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        measure_growth(clip, range(1, len(firsts) + 1), "sports", Engine.AUTO, tmp_path, figures)
    return figures


def test_median_and_most_of_the_first_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The best of several starts is what nobody gets: the middle one and the worst are told."""
    figures = grown(monkeypatch, tmp_path, 1.0, 4.0, 2.0)
    assert (figures["first_frame_seconds"], figures["first_frame_seconds_most"]) == (2, 4)
    assert figures["core_ms_per_further_frame"] == [20, 20]
    assert figures["runs"]["x2"]["fps_after_first_frame"] == pytest.approx(200 / 6, rel=1e-3)


def test_ctrl_c_keeps_the_runs_that_are_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What has been measured is told, though the longest clip has not been."""
    figures = grown(monkeypatch, tmp_path, 1.0, 4.0, 2.0, interrupted=True)
    assert list(figures["runs"]) == ["x1", "x2"]
    assert figures["core_ms_per_further_frame"] == [20]


def test_what_nobody_saw_is_not_made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A first frame that came and went between two looks has no time, in the figures as in the table."""
    figures = grown(monkeypatch, tmp_path, None, 3.0)
    assert figures["runs"]["x1"]["first_frame_seconds"] is None
    assert figures["runs"]["x1"]["fps_after_first_frame"] is None
    assert (figures["first_frame_seconds"], figures["first_frame_seconds_most"]) == (3, 3)
    figures = grown(monkeypatch, tmp_path, None)
    assert figures["first_frame_seconds"] is figures["first_frame_seconds_most"] is None
    out = io.StringIO()
    machine = {"processor": "some", "cores": 2}
    result = {"machine": machine, "settings": {"network": "n 1"}, "growth": figures, "skipped": {}}
    show(Console(file=out, width=100), result)
    assert "after – s (median), – s at most" in out.getvalue()
