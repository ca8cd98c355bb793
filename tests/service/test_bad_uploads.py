from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations import mutated, watched_while
from tests.service.live import TIMED, within
from tests.upload_memory import measure

PAUSE = 0.5
"""Seconds between two labels of the stream beside, on a machine that has nothing else to do."""


@TIMED
def test_damaged_files_are_answered_beside_a_stream(tmp_path: Path) -> None:
    """Whatever comes in: events or a reason, never an error of ours, and the stream does not notice.

    ``python -m tests.mutations`` does the same with two hundred.
    """
    answers, pause = watched_while(tmp_path, mutated(tmp_path, 24, seed=3))
    assert len(answers) == 24
    assert len({answer.end for answer in answers}) > 1
    assert pause < within(PAUSE)


@TIMED
@pytest.mark.timeout(1200)
def test_odd_files_are_answered_beside_a_stream(tmp_path: Path, clips: Path) -> None:
    """The same with files of other people that their programs could not read."""
    files = sorted(path for path in (clips / "robust").iterdir() if path.is_file())
    answers, pause = watched_while(tmp_path, files)
    assert len(answers) == len(files)
    assert pause < within(PAUSE)
    ends = {answer.name: answer.end for answer in answers}
    assert ends["lfs_pointer.mp4"] == ends["pp_9bytes.mpeg"] == "415"
    assert ends["h264_10bit.mp4"] == ends["rot_90.mov"] == "done"


def test_memory_does_not_depend_on_the_size_of_an_upload(tmp_path: Path) -> None:
    """It goes to disk as it comes. ``python -m tests.upload_memory`` does the same with two gigabytes."""
    (small, _), (large, _) = measure(tmp_path, 200)
    assert large - small < 20 * 1024
