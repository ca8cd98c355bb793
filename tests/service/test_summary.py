from __future__ import annotations

import io

from rich.console import Console

from service.pipeline import RunResult
from service.summary import show, timecode


def test_timecode() -> None:
    """Times in the table round and carry like a clock."""
    assert [timecode(t) for t in (0, 59.9996, 3599.9999)] == ["00:00.000", "01:00.000", "1:00:00.000"]


def test_one_frame_is_no_frames() -> None:
    """What a person reads is a sentence."""
    told = io.StringIO()
    for frames in (1, 2):
        show(Console(file=told), RunResult(frames, frames, 0, 25.0, frames / 25, (), None, False), ())
    assert told.getvalue().splitlines()[1::2] == [
        "1 frame, 00:00.040 at 25 fps",
        "2 frames, 00:00.080 at 25 fps",
    ]
