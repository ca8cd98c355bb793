from __future__ import annotations

import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from service.benchmark.clip import SHORTEST, inspect, lengthen, read_frames
from service.errors import BenchmarkError
from service.sinks.avi import AviWriter
from service.sinks.mjpg_file import encode_jpeg
from tests.conftest import WriteVideo


def test_odd_sides(tmp_path: Path) -> None:
    """Encoders want even sides; cameras and crops have others."""
    path = tmp_path / "odd.avi"
    with path.open("wb") as file:
        writer = AviWriter(file, 161, 121, Fraction(10))
        for i in range(12):
            writer.write(encode_jpeg(np.full((121, 161, 3), 8 * i, np.uint8)))
        writer.close()
    clip = inspect(path)
    assert (clip.width, clip.height) == (161, 121)
    longer = inspect(lengthen(clip, tmp_path, 2))
    assert (longer.width, longer.height, longer.frames) == (160, 120, 2 * clip.frames)


def test_what_cannot_be_written_is_told(write_video: WriteVideo, tmp_path: Path) -> None:
    """A disk that takes no more is said in this project's words."""
    clip = inspect(write_video())
    with pytest.raises(BenchmarkError, match="cannot write"):
        lengthen(clip, tmp_path / "absent", 2)


@pytest.mark.parametrize("frames", [1, SHORTEST - 1])
def test_too_short_to_measure(write_video: WriteVideo, frames: int) -> None:
    """A clip of one frame, which is decoded while it is opened, would be opened again for ever."""
    with pytest.raises(BenchmarkError, match=rf"too short to be measured: {frames} frames"):
        inspect(write_video(count=frames))
    assert inspect(write_video(count=SHORTEST)).frames == SHORTEST


def test_frames_are_held_one_by_one(write_video: WriteVideo) -> None:
    """The memory of an engine is its own, and a long clip in 4K fits into that of the camera."""
    known = [weakref.ref(image) for image in read_frames(write_video(count=30), 20)]
    assert len(known) == 20
    assert sum(frame() is not None for frame in known) <= 1
