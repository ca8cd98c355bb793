"""The process of a clip, without a service around it."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import av
import cv2
import pytest

from service.clips import process
from service.clips.messages import Finished, Happened, Report
from service.clips.records import ClipLimits, ClipOptions, VideoFacts
from service.clips.worker import VIDEO, ClipTask
from service.config import RunSettings
from service.errors import ClipFailedError
from service.types import Classifier, EventPhase
from tests.service.api.conftest import make_clip
from tests.service.api.fakes import ColourProvider
from tests.service.fakes import read_video, scene


class Careful(ColourProvider):
    """Opens only in a process where OpenCV has no pool of threads."""

    def open(self, batch_size: int) -> Classifier:
        assert cv2.getNumThreads() == 1
        return super().open(batch_size)


class Asked(ColourProvider):
    """The process that opens it is asked to end."""

    def open(self, batch_size: int) -> Classifier:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().open(batch_size)


class Attempt:
    """Works on a clip of 400 frames whose results may have so many bytes; keeps what it tells."""

    def __init__(self, folder: Path, file_bytes: int = 1 << 30) -> None:
        self.folder = folder
        self.reports: list[Report] = []
        clip = make_clip(folder / "upload.avi", ["red"] * 400, (320, 240))
        self._task = ClipTask(
            source=clip,
            folder=folder,
            name="my.avi",
            stream="clip_1",
            video=VideoFacts(320, 240, 10.0, 400),
            options=ClipOptions(RunSettings(window=4)),
            memory=1 << 30,
            file_bytes=file_bytes,
        )

    def run(self, provider: ColourProvider | None = None) -> Finished:
        stop = threading.Event()
        return process.run(self._task, provider or Careful(), ClipLimits(), stop, self.reports.append)

    def phases(self) -> list[EventPhase]:
        return [report.message.phase for report in self.reports if isinstance(report, Happened)]


def test_a_stop_of_the_service_is_left_to_the_service(tmp_path: Path) -> None:
    """A signal to stop may reach all processes at once: the clip's waits for what the service makes of it."""
    assert Attempt(tmp_path).run(Asked()).frames == 400


def test_a_full_disk_costs_no_event(tmp_path: Path) -> None:
    """A clip whose video finds no more room is done with what was seen, and says so without a path."""
    attempt = Attempt(tmp_path, 500_000)
    finished = attempt.run()
    assert finished.ended_early is not None
    assert finished.ended_early.startswith(f"cannot write {VIDEO}: File too large; the events are those of")
    assert attempt.phases()[-1] is EventPhase.ENDED
    document = json.loads((tmp_path / "clip.events.json").read_text())
    assert [event["label"] for event in document["events"]] == ["red"]
    assert 10 < len(read_video(tmp_path / VIDEO)[0]) <= document["frames"] == finished.frames < 400


def test_no_room_for_any_video(tmp_path: Path) -> None:
    """A clip without a video fails, as there would be none to fetch; its events have been told, and ended."""
    attempt = Attempt(tmp_path, 7000)
    with pytest.raises(ClipFailedError, match="File too large") as caught:
        attempt.run()
    assert str(tmp_path) not in str(caught.value)
    assert attempt.phases().count(EventPhase.STARTED) == attempt.phases().count(EventPhase.ENDED)
    assert (tmp_path / "clip.events.json").exists()
    assert not (tmp_path / VIDEO).exists()


def test_a_clock_that_begins_late_makes_no_clip_longer(tmp_path: Path) -> None:
    """Recorders cut files out of a clock that goes on; Matroska then announces its time since 0."""
    film = tmp_path / "upload"
    with av.open(str(film), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=10, width=64, height=48, pix_fmt="yuvj420p")
        for number in range(20):
            picture = av.VideoFrame.from_ndarray(scene("red"), format="bgr24")
            picture.pts = 36_000 * 10 + number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    video = process.probe(film, "my.mkv", ClipLimits(), threading.Event())
    assert (video.fps, video.frame_count) == (10.0, 20)
