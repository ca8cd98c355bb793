from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.annotate import Annotator, layout
from service.errors import SinkError
from service.sinks import Step, mjpg_file, timeline
from service.sinks.avi import AviTooLongError, AviWriter
from service.sinks.mjpg_file import SPARE_BYTES, MjpgFile, exact_rate, letterbox
from service.sinks.timeline import Timeline
from service.types import Event, Frame, Image, Prediction, SmoothedPrediction
from tests.service.fakes import read_video


def step(index: int, image: Image, pts: float | None = None) -> Step:
    return Step(Frame("x", index, index / 25 if pts is None else pts, 0.0, image), None, None, ())


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
        sink.write(step(index, shade(index), index / fps))
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


def timed(path: Path, times: list[float], fps: float = 10.0) -> list[int]:
    """Write a frame for each time; return which of them the video shows."""
    sink = MjpgFile(path, fps)
    for index, pts in enumerate(times):
        sink.write(step(index, shade(index), pts))
    sink.close()
    frames, rate = read_video(path)
    assert rate == fps
    return shades(frames)


def test_holes_of_a_live_source_are_filled(tmp_path: Path) -> None:
    """Video of a live source that drops frames keeps the pace of the clock, from its first frame on."""
    sink = MjpgFile(tmp_path / "a.avi", 25)
    for index in (2, 3, 7):
        sink.write(step(index, shade(index)))
    sink.close()
    assert shades(read_video(tmp_path / "a.avi")[0]) == [2, 2, 2, 3, 3, 3, 3, 7]


def test_jitter_keeps_every_frame(tmp_path: Path) -> None:
    """Times that stray a little from the rate do not cost or double a frame."""
    random = np.random.default_rng(0)
    times = [index / 10 + random.uniform(-0.19, 0.19) for index in range(60)]
    assert timed(tmp_path / "a.avi", [0.0, *sorted(times)[1:]]) == list(range(60))


def test_a_source_slower_than_it_says(tmp_path: Path) -> None:
    """Two frames a second announced as ten: the video lasts as long, each picture is there at its time."""
    shown = timed(tmp_path / "a.avi", [index / 2 for index in range(8)])
    assert shown == [index for index in range(7) for _ in range(5)] + [7]


def test_a_source_faster_than_it_says(tmp_path: Path) -> None:
    """Forty frames a second announced as ten: the surplus is left out, no picture comes late."""
    shown = timed(tmp_path / "a.avi", [index / 40 for index in range(120)])
    assert len(shown) == 31
    assert all(abs(index / 40 - slot / 10) <= 0.2 for slot, index in enumerate(shown))
    assert all(abs(index / 40 - slot / 10) < 0.051 for slot, index in enumerate(shown[6:], 6))


def test_variable_rate_keeps_times(tmp_path: Path) -> None:
    """A clip that slows down, pauses and hurries shows each picture when the source did."""
    times = (
        [index / 10 for index in range(10)] + [1 + index / 4 for index in range(8)] + [6.0, 6.02, 6.04, 6.1]
    )
    shown = timed(tmp_path / "a.avi", times)
    assert len(shown) == 62
    for slot, index in enumerate(shown):
        assert times[index] <= slot / 10 + 0.2
        assert index + 1 == len(times) or times[index + 1] >= slot / 10 - 0.2


def test_a_jump_of_the_clock_is_bounded(tmp_path: Path) -> None:
    """A time that leaps does not fill the disk with one picture; what comes after goes on from there."""
    shown = timed(tmp_path / "a.avi", [0.0, 0.1, 1e6, 1e6 + 0.1], fps=10)
    assert shown == [0] + [1] * 601 + [2, 3]


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


def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    """Another run of the same clip is refused; neither mixes into the video of the first."""
    first = MjpgFile(tmp_path / "a.avi", 25)
    first.write(step(0, shade(0)))
    with pytest.raises(SinkError, match=r"another run writes .*a\.avi"):
        MjpgFile(tmp_path / "a.avi", 25)
    first.close()
    second = MjpgFile(tmp_path / "a.avi", 25)
    second.abort()
    assert len(read_video(tmp_path / "a.avi")[0]) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_told(tmp_path: Path) -> None:
    """A full disk stops the run with its reason; a file without one whole frame is not left behind."""
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


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (200, 200, 3), np.uint8)


@pytest.mark.parametrize("segment_bytes", [1 << 30, 100_000])
def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    """The video up to there is finished with its index, and there is room again for the lists of events."""
    monkeypatch.setattr(timeline, "AviWriter", partial(AviWriter, segment_bytes=segment_bytes))
    sink = MjpgFile(tmp_path / "a.avi", 25)

    def write_much() -> None:
        for index in range(200):
            sink.write(step(index, noise(index)))

    with largest_file(1_000_000), pytest.raises(SinkError, match="File too large"):
        write_much()
    with largest_file(1_000_000), pytest.raises(SinkError, match="File too large"):
        sink.close()
    assert sink.is_kept
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]
    if segment_bytes == 1 << 30:  # a segment that has its index stays whole
        assert (tmp_path / "a.avi").stat().st_size < 1_000_000 - SPARE_BYTES // 2
    frames, _ = read_video(tmp_path / "a.avi")
    assert len(frames) == count_of(tmp_path / "a.avi") > 10
    assert np.abs(frames[-1].astype(int) - noise(len(frames) - 1)).mean() < 60
    capture = cv2.VideoCapture(str(tmp_path / "a.avi"), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_POS_FRAMES, 8)
    assert np.array_equal(capture.read()[1], frames[8])
    capture.release()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def count_of(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count


def test_the_longest_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source too long for the format leaves the video up to there, which plays."""
    small = partial(AviWriter, segment_bytes=100_000, max_segments=3)
    monkeypatch.setattr(timeline, "AviWriter", small)
    sink = MjpgFile(tmp_path / "a.avi", 25)

    def write_much() -> None:
        for index in range(100):
            sink.write(step(index, noise(index)))

    with pytest.raises(SinkError, match="is full"):
        write_much()
    with pytest.raises(SinkError, match="--no-video"):
        sink.close()
    assert len(read_video(tmp_path / "a.avi")[0]) == count_of(tmp_path / "a.avi") > 3


def test_a_slow_end_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that the disk does not take in time are let go; those before them are a whole video."""
    monkeypatch.setattr(mjpg_file, "JOIN_SECONDS", 2.0)
    place = Timeline.place

    def slow(self: Timeline, jpeg: bytes, pts: float, dropped: int = 0) -> None:
        place(self, jpeg, pts, dropped)
        time.sleep(0.7)

    monkeypatch.setattr(Timeline, "place", slow)
    sink = MjpgFile(tmp_path / "a.avi", 25, depth=16)
    for index in range(10):
        sink.write(step(index, shade(index)))
    with pytest.raises(SinkError, match="did not come to an end"):
        sink.close()
    shown = shades(read_video(tmp_path / "a.avi")[0])
    assert shown == list(range(len(shown)))
    assert 1 <= len(shown) < 10


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
