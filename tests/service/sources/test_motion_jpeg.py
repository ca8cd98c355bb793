"""Motion JPEG is decoded no larger than it is needed, and nothing else about it changes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.preprocessing import Preprocessing
from service.config import RunSettings
from service.run import LoadedModel, RunOptions, run_source
from service.sources import open_source
from service.types import Frame, Image
from tests.service.fakes import ColourClassifier

ENOUGH = (224, 224)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A bright disc that crosses a noisy 1280×720 picture in 12 frames."""
    return write(tmp_path / "disc.avi", 1280, 720)


def write(path: Path, width: int, height: int, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 30, (width, height))
    assert writer.isOpened()
    noise = np.random.default_rng(1).integers(60, 100, (height // 8, width // 8, 3), np.uint8)
    for number in range(12):
        image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.circle(image, (100 + number * width // 14, height // 2), height // 5, (40, 180, 250), -1)
        writer.write(image)
    writer.release()
    return path


def frames(path: Path, enough: tuple[int, int] | None = None) -> list[Frame]:
    with open_source(str(path), enough=enough) as source:
        read = list(iter(source.read, None))
        assert not source.ended_early
        return read


def test_the_network_sees_the_same_of_a_half(video: Path) -> None:
    """The pictures have half the size, all of them their time, and what is made of them is the same."""
    whole, half = frames(video), frames(video, ENOUGH)
    assert {frame.image.shape for frame in half} == {(360, 640, 3)}
    assert [(frame.index, frame.pts) for frame in half] == [(frame.index, frame.pts) for frame in whole]
    model_input = Preprocessing().model_input
    for one, other in zip(whole, half, strict=True):
        difference = model_input(one.image).astype(int) - model_input(other.image)
        assert np.abs(difference).mean() < 1
        assert np.abs(difference).max() < 40  # along the edge of the disc


@pytest.mark.parametrize(("size", "shape"), [((3840, 2160), (540, 960, 3)), ((640, 480), (480, 640, 3))])
def test_no_smaller_than_a_resize_would_make_it(
    tmp_path: Path, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    """Half and half again as long as three times the wanted side is there, as when a whole picture is
    resized: so what a network sees hangs on no setting."""
    assert {frame.image.shape for frame in frames(write(tmp_path / "clip.avi", *size), ENOUGH)} == {shape}


def test_other_codecs_keep_their_size(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.avi", 1280, 720, "mp4v")
    assert {frame.image.shape for frame in frames(path, ENOUGH)} == {(720, 1280, 3)}


def test_a_damaged_picture_costs_no_other(video: Path) -> None:
    """One JPEG without its beginning is left out; all others keep their time."""
    times = [frame.pts for frame in frames(video)]
    data = bytearray(video.read_bytes())
    third = [place for place in range(len(data) - 3) if data[place : place + 3] == b"\xff\xd8\xff"][2]
    data[third : third + 64] = bytes(64)
    video.write_bytes(data)
    assert [frame.pts for frame in frames(video, ENOUGH)] == pytest.approx(times[:2] + times[3:])


def test_what_is_called_jpeg_and_is_none_is_decoded_as_before(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that only FFmpeg knows, and pictures of every second line, are decoded whole."""
    decode = cv2.imdecode
    for spoil in (lambda image: None, lambda image: image[::2]):
        monkeypatch.setattr(cv2, "imdecode", lambda data, flags, spoil=spoil: spoil(decode(data, flags)))
        assert {frame.image.shape for frame in frames(video, ENOUGH)} == {(720, 1280, 3)}


class Sizes(ColourClassifier):
    """Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def model_input(self, image: Image, view: int = 0) -> Image:
        self.seen.add(image.shape)
        return super().model_input(image, view)


@pytest.mark.parametrize(("annotated", "shape"), [(True, (720, 1280, 3)), (False, (360, 640, 3))])
def test_run_decodes_whole_pictures_for_its_video_alone(
    video: Path, tmp_path: Path, annotated: bool, shape: tuple[int, int, int]
) -> None:
    classifier = Sizes()
    options = RunOptions(source=str(video), directory=tmp_path, settings=RunSettings(), video=annotated)
    result = run_source(options, lambda options: LoadedModel("sizes 1", classifier))
    assert (result.frames, classifier.seen) == (12, {shape})
