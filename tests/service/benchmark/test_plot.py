from __future__ import annotations

from pathlib import Path

import pytest

from service.benchmark.plot import SHADES, draw
from service.benchmark.subjects import BASELINE, PIPELINE, STAGES
from service.errors import BenchmarkError


def test_no_two_have_the_same_colour() -> None:
    """A stage is not to be taken for the whole pipeline, which is drawn beside it."""
    assert len({SHADES[name] for name in (BASELINE, PIPELINE, *STAGES)}) == 2 + len(STAGES)


def test_nothing_measured(tmp_path: Path) -> None:
    """Who has pressed Ctrl-C too early is told, and finds no picture without anything in it."""
    with pytest.raises(BenchmarkError, match="nothing was measured"):
        draw({"streams": {"steps": []}}, tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []
