from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.annotate import Annotator, layout
from service.errors import SinkError
from service.sinks import Step
from service.sinks.avi import AviTooLongError, AviWriter
from service.sinks.mjpg_file import MjpgFile, exact_rate, letterbox
from service.types import Event, Frame, Image, Prediction, SmoothedPrediction
from tests.service.fakes import read_video


def step(index: int, image: Image) -> Step:
    return Step(Frame("x", index, index / 25, 0.0, image), None, None, ())


def shade(index: int, width: int = 65, height: int = 47) -> Image:
    return np.full((height, width, 3), index * 2, np.uint8)


def jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def shades(frames: list[Image]) -> list[int]:
    return [round(float(frame.mean()) / 2) for frame in frames]


@pytest.mark.parametrize("fps", [0.5, 23.976023976, 25.0, 29.97002997, 59.94005994, 240.0])
def test_keeps_size_rate_and_count(tmp_path: Path, fps: float) -> None:
    """The annotated video matches its source frame by frame, for odd sizes and fractional rates too."""
    sink = MjpgFile(tmp_path / "a.avi", fps)
    for index in range(40):
        sink.write(step(index, shade(index)))
    sink.close()
    frames, rate = read_video(tmp_path / "a.avi")
    assert shades(frames) == list(range(40))
    assert frames[0].shape == (47, 65, 3)
    assert rate == pytest.approx(fps, rel=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]


def test_draws_what_is_known_of_each_frame(tmp_path: Path) -> None:
    """With an annotator the video shows label and event of its own frame, and nothing outside the panel."""
    sink = MjpgFile(tmp_path / "a.avi", 25, annotator=Annotator(), quality=100)
    shares = np.array([0.9, 0.1], np.float32)
    smoothed = SmoothedPrediction(Prediction(0, 0.0, shares), shares, "tennis", 0.9)
    event = Event("x-1", "x", "tennis", 0.0, None, 0.9, 0.9, 0.5)
    for index, known in enumerate([None, event, event]):
        frame = Frame("x", index, index / 25, 0.0, np.full((180, 320, 3), 90, np.uint8))
        sink.write(Step(frame, smoothed if known else None, known, ()))
    sink.close()
    (nothing, first, second), _ = read_video(tmp_path / "a.avi")
    place = layout(320, 180)
    panel = (slice(place.top, place.top + place.height), slice(place.left, place.left + place.width))
    assert np.abs(first[panel].astype(int) - nothing[panel]).max() > 50
    assert np.abs(first.astype(int) - second).max() <= 2
    below = first[place.top + place.height + 16 :]
    assert np.abs(below.astype(int) - 90).max() <= 2


def test_fault_while_drawing_reaches_the_writer(tmp_path: Path) -> None:
    """A fault in the encoding thread is raised where frames come from: it never waits for ever."""

    class Broken(Annotator):
        def draw(self, *args: object, **kwargs: object) -> None:
            raise ZeroDivisionError

    sink = MjpgFile(tmp_path / "a.avi", 25, annotator=Broken(), depth=1)

    def write_all() -> None:
        for index in range(9):
            sink.write(step(index, shade(index)))

    with pytest.raises(ZeroDivisionError):
        write_all()
    sink.abort()
    assert not list(tmp_path.iterdir())


def test_rate_is_exact() -> None:
    """Rates of the NTSC family come back as the fractions that they stand for."""
    assert exact_rate(30000 / 1001) == Fraction(30000, 1001)
    assert exact_rate(24000 / 1001) == Fraction(24000, 1001)
    assert exact_rate(1e-4) > 0


def test_frame_of_another_size_is_fitted(tmp_path: Path) -> None:
    """A source that changes its size mid-stream keeps its proportions in the file."""
    sink = MjpgFile(tmp_path / "a.avi", 25)
    for index, (width, height) in enumerate([(64, 48), (32, 48), (640, 100), (1, 1)]):
        sink.write(step(index, np.full((height, width, 3), 250, np.uint8)))
    sink.close()
    frames, _ = read_video(tmp_path / "a.avi")
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert frames[1][:, 0].mean() < 20
    assert frames[1][:, 32].mean() > 230


def test_letterbox_is_exact_in_size() -> None:
    """Borders and picture together always fill the file's size."""
    for width, height in [(7, 3), (1, 999), (999, 1)]:
        assert letterbox(np.zeros((height, width, 3), np.uint8), 33, 21).shape == (21, 33, 3)


def test_holes_of_a_live_source_are_filled(tmp_path: Path) -> None:
    """Video of a live source that drops frames keeps the pace of the clock."""
    sink = MjpgFile(tmp_path / "a.avi", 25)
    for index in (10, 11, 15):
        sink.write(step(index, shade(index)))
    sink.close()
    assert shades(read_video(tmp_path / "a.avi")[0]) == [10, 11, 15, 15, 15, 15]


def test_abort_and_no_frames_leave_nothing(tmp_path: Path) -> None:
    """A failed run leaves no half-written file behind, and neither does one without frames."""
    sink = MjpgFile(tmp_path / "a.avi", 25)
    sink.write(step(0, shade(0)))
    sink.abort()
    sink.abort()
    MjpgFile(tmp_path / "b.avi", 25).close()
    assert not list(tmp_path.iterdir())


def test_unwritable_place_is_told(tmp_path: Path) -> None:
    """A directory that is not there is one clear error, not a silent empty result."""
    with pytest.raises(SinkError, match=r"nowhere.*No such file"):
        MjpgFile(tmp_path / "nowhere" / "a.avi", 25)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_told(tmp_path: Path) -> None:
    """A full disk stops the run with its reason and leaves nothing behind."""
    (tmp_path / "a.avi.part").symlink_to("/dev/full")
    sink = MjpgFile(tmp_path / "a.avi", 25)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)

    def write_much() -> None:
        for index in range(100):
            sink.write(step(index, noise))
        sink.close()

    with pytest.raises(SinkError, match="No space left"):
        write_much()
    sink.abort()
    assert not list(tmp_path.iterdir())


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of clock or machine gets into the file."""
    for name in ("a.avi", "b.avi"):
        sink = MjpgFile(tmp_path / name, 25)
        for index in range(5):
            sink.write(step(index, shade(index)))
        sink.close()
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()


@pytest.mark.parametrize("segment_bytes", [1 << 30, 9000])
@pytest.mark.parametrize("backend", [cv2.CAP_FFMPEG, cv2.CAP_OPENCV_MJPEG])
def test_long_video_in_segments(tmp_path: Path, segment_bytes: int, backend: int) -> None:
    """Hours of video, beyond what one RIFF segment holds, play to the end and can be sought in."""
    path = tmp_path / "a.avi"
    with path.open("wb") as file:
        writer = AviWriter(file, 65, 47, Fraction(25), segment_bytes=segment_bytes)
        for index in range(100):
            writer.write(jpeg(shade(index)))
        writer.close()
    frames, _ = read_video(path, backend)
    if segment_bytes == 1 << 30 or backend == cv2.CAP_FFMPEG:
        assert shades(frames) == list(range(100))
    else:
        assert len(frames) > 0  # OpenCV's own reader knows only the first segment
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 100
    capture.set(cv2.CAP_PROP_POS_FRAMES, 70)
    assert shades([np.asarray(capture.read()[1], np.uint8)]) == [70]
    capture.release()


@pytest.mark.parametrize("segment_bytes", [1 << 30, 9000])
def test_killed_writer_leaves_a_playable_file(tmp_path: Path, segment_bytes: int) -> None:
    """After kill -9 the video plays as far as it had been written."""
    path = tmp_path / "a.avi"
    with path.open("wb") as file:
        writer = AviWriter(file, 65, 47, Fraction(25), segment_bytes=segment_bytes)
        for index in range(50):
            writer.write(jpeg(shade(index)))
    assert shades(read_video(path)[0]) == list(range(50))


def test_end_of_the_format_is_told(tmp_path: Path) -> None:
    """A file never grows beyond what its index can address."""
    with (tmp_path / "a.avi").open("wb") as file:
        writer = AviWriter(file, 65, 47, Fraction(25), segment_bytes=9000, max_segments=2)

        def write_much() -> None:
            for index in range(100):
                writer.write(jpeg(shade(index)))

        with pytest.raises(AviTooLongError):
            write_much()
