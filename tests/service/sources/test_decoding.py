"""How video is decoded: threads, graphics devices and what becomes of it where they fail; real captures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from service.config import HardwareDecode
from service.errors import NoFramesError
from service.sources import Source, decoders, ffmpeg, open_source
from service.types import Image
from tests.service.streams.cameras import camera

CLIP = Path(__file__).resolve().parents[3] / "example_clips" / "volleyball.mp4"
REAL = cv2.VideoCapture


class Captures:
    """Stands before ``cv2.VideoCapture`` and keeps what was asked of it.

    Those that are asked for a graphics device claim to have one. ``broken`` ones of them decode nothing.
    """

    def __init__(self, broken: bool) -> None:
        self.asked: list[dict[int, int]] = []
        self.captures: list[Any] = []
        self._broken = broken

    def __call__(self, target: str, backend: int, parameters: list[int]) -> Any:
        asked = dict(zip(parameters[::2], parameters[1::2], strict=True))
        self.asked.append(asked)
        capture = REAL(target, backend, parameters)
        if cv2.CAP_PROP_HW_ACCELERATION in asked:
            capture = Accelerated(capture, self._broken)
        self.captures.append(capture)
        return capture


class Accelerated:
    """A capture that says that a graphics device decodes."""

    def __init__(self, capture: cv2.VideoCapture, broken: bool) -> None:
        self._capture = capture
        self._broken = broken

    def get(self, key: int) -> float:
        is_asked = key == cv2.CAP_PROP_HW_ACCELERATION
        return float(cv2.VIDEO_ACCELERATION_VAAPI) if is_asked else self._capture.get(key)

    def read(self) -> tuple[bool, Any]:
        return (False, None) if self._broken else self._capture.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a graphics device, as far as one can tell from its files."""
    (tmp_path / "renderD128").touch()
    monkeypatch.setattr(decoders, "_GRAPHICS", tmp_path)


def captures(monkeypatch: pytest.MonkeyPatch, broken: bool = False) -> Captures:
    made = Captures(broken)
    monkeypatch.setattr(ffmpeg.cv2, "VideoCapture", made)
    return made


def first_images(source: Source, count: int = 5) -> list[Image]:
    with source:
        frames = [source.read() for _ in range(count)]
    return [frame.image for frame in frames if frame]


@pytest.mark.usefixtures("device")
def test_a_device_that_is_none_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Where nothing behind the device file decodes, the processor does: at once, without a word, the same."""
    plain = first_images(open_source(str(CLIP)))
    began = time.monotonic()
    tried = first_images(open_source(str(CLIP), hardware=HardwareDecode.AUTO))
    assert time.monotonic() - began < 10
    assert len(plain) == 5
    assert all(np.array_equal(one, other) for one, other in zip(plain, tried, strict=True))
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("device")
def test_a_device_that_fails_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that opens and then decodes nothing costs one more opening, and not the stream."""
    made = captures(monkeypatch, broken=True)
    assert len(first_images(open_source(str(CLIP), hardware=HardwareDecode.AUTO))) == 5
    assert [cv2.CAP_PROP_HW_ACCELERATION in asked for asked in made.asked] == [True, False]
    assert not made.captures[0].isOpened()


@pytest.mark.usefixtures("device")
def test_a_device_that_works_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a device decodes is not opened a second time; and "off" means that none is asked for."""
    made = captures(monkeypatch)
    assert len(first_images(open_source(str(CLIP), hardware=HardwareDecode.AUTO))) == 5
    assert len(first_images(open_source(str(CLIP), hardware=HardwareDecode.OFF))) == 5
    assert [asked.get(cv2.CAP_PROP_HW_ACCELERATION) for asked in made.asked] == [
        cv2.VIDEO_ACCELERATION_ANY,
        None,
    ]


@pytest.mark.usefixtures("device")
def test_what_cannot_be_decoded_at_all_says_so(monkeypatch: pytest.MonkeyPatch, clips: Path) -> None:
    """A file without one good frame has the same error with a device as without."""
    captures(monkeypatch, broken=True)
    with pytest.raises(NoFramesError):
        open_source(str(clips / "robust" / "small.avi"), hardware=HardwareDecode.AUTO)


def test_without_a_device_none_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without graphics does not spend time on looking for them at every connection."""
    monkeypatch.setattr(decoders, "_GRAPHICS", tmp_path / "none")
    made = captures(monkeypatch)
    assert len(first_images(open_source(str(CLIP), hardware=HardwareDecode.AUTO))) == 5
    assert [cv2.CAP_PROP_HW_ACCELERATION in asked for asked in made.asked] == [False]
    assert 1 <= made.asked[0][cv2.CAP_PROP_N_THREADS] <= 4


def test_a_live_stream_has_one_decoding_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further threads would each hold a frame back, and many cameras share few cores."""
    made = captures(monkeypatch)
    with camera() as cam, open_source(cam.address) as source:
        assert source.properties.is_live
    assert made.asked[0][cv2.CAP_PROP_N_THREADS] == 1
