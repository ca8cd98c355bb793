from __future__ import annotations

import pytest

from service.benchmark.whole import Beginning
from service.config import RunSettings
from service.pipeline import run
from tests.service.fakes import ColourClassifier, ListSource


@pytest.mark.parametrize(("count", "frames"), [(1, 1), (16, 16), (500, 40)])
def test_a_round_ends_like_a_clip(count: int, frames: int) -> None:
    """A round works on just so many frames, reads none for nothing, and counts as a source that is whole."""
    source = Beginning(ListSource(["red"] * 40), count)
    result = run(source, "clip", ColourClassifier(), RunSettings())
    assert result.frames == source.frames_read == frames
    assert result.ended_early is None
