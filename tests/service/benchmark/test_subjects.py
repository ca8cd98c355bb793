"""What takes part in the rounds, opened as it is there, but in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.benchmark.lecture import LectureLoop
from service.benchmark.rounds import Candidate
from service.benchmark.subjects import BASELINE, ENGINE, PIPELINE, pipeline_candidates
from service.engines import Engine
from service.errors import BenchmarkError
from tests.conftest import WriteVideo


@pytest.fixture
def threads() -> Iterator[None]:
    """OpenCV's number of threads is that of the whole process."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def candidates(model: Path, clip: Path, folder: Path) -> dict[str, Candidate]:
    found = pipeline_candidates(str(model), Engine.TENSORFLOW, clip, folder)
    return {candidate.name: candidate for candidate in found}


@pytest.mark.parametrize(
    ("name", "left"), [(PIPELINE, 1), ("decode", 1), ("resize", 1), ("draw", 1), ("encode", 1), (BASELINE, 2)]
)
def test_threads_of_opencv(
    artifact: Path, write_video: WriteVideo, tmp_path: Path, threads: None, name: str, left: int
) -> None:
    """The pipeline, and what its stages cost, are those of ``video-events run``, which keeps OpenCV to 1.

    Lectures leave OpenCV as it is; the baseline is not held back.
    """
    candidate = candidates(artifact, write_video(), tmp_path)[name]
    cv2.setNumThreads(2)
    assert candidate.open().measure(0.01).frames > 0
    assert cv2.getNumThreads() == left


def test_models_that_judge_clips(
    clip_artifact: Path, write_video: WriteVideo, tmp_path: Path, threads: None
) -> None:
    """What ``run`` serves can be measured; the loop of lectures, which cannot have it, says so in a line."""
    clip = write_video()
    found = candidates(clip_artifact, clip, tmp_path)
    for name in (PIPELINE, ENGINE):
        assert found[name].open().measure(0.01).frames > 0
    with pytest.raises(BenchmarkError, match="judges windows of frames, the loop one frame by itself"):
        LectureLoop(str(clip_artifact), clip, tmp_path)


def test_opening_a_short_clip_again_is_not_held_against_the_loop(
    artifact: Path, write_video: WriteVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not count for the pipeline either, so the ratio of the two says the same of short clips."""
    loop = LectureLoop(str(artifact), write_video(count=8), tmp_path)
    monkeypatch.setattr(loop._model, "predict", lambda image, verbose: np.full((1, 3), 1 / 3))
    opened, real = 0, cv2.VideoCapture

    def slow(path: str) -> cv2.VideoCapture:
        nonlocal opened
        opened += 1
        time.sleep(0.5)
        return real(path)

    monkeypatch.setattr(cv2, "VideoCapture", slow)
    began = time.perf_counter()
    reading = loop.measure(1.5)
    assert opened > 1
    assert time.perf_counter() - began - reading.seconds > 0.5 * opened
