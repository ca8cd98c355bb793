"""What a stream's headers say of its scan, against what encoders wrote."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.ffmpeg import headers as stream_headers
from service.sources.scan import announces_interlaced

H265 = (  # Sequence parameter sets by x265: one field after the other, and whole pictures.
    "0000014201010160000003004000000300000300" + "3fa00502016965959a4932b9",
    "0000014201010160000003009000000300000300" + "3fa00502016965959a4932b9",
)
PROFILES = {
    "main": ("yuv420p", ""),
    "high": ("yuv420p", "cqm=jvt"),
    "high10": ("yuv420p10le", ""),
    "high422": ("yuv422p10le", "cqm=jvt"),
    "high444": ("yuv444p", "cqm=jvt"),
}


def headers(path: Path, codec: str, pixels: str = "yuv420p", **options: str) -> bytes:
    """What OpenCV tells of a video's headers."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return stream_headers(capture)
    finally:
        capture.release()


@pytest.mark.parametrize("container", ["ts", "mp4"])
@pytest.mark.parametrize("profile", PROFILES)
def test_h264_tells_its_scan(tmp_path: Path, profile: str, container: str) -> None:
    """Of each profile, with start codes and with lengths."""
    pixels, parameters = PROFILES[profile]
    told = []
    for scan in ("", "tff=1"):
        text = ":".join(filter(None, (parameters, scan)))
        path = tmp_path / f"film.{container}"
        film = headers(path, "libx264", pixels, **{"profile": profile, "x264-params": text})
        assert film
        told.append(announces_interlaced(film))
    assert told == [False, True]


@pytest.mark.parametrize("flags", ["", "+ilme+ildct"])
def test_mpeg2_tells_its_scan(tmp_path: Path, flags: str) -> None:
    """As broadcasters send it."""
    film = headers(tmp_path / "film.ts", "mpeg2video", **({"flags": flags} if flags else {}))
    assert announces_interlaced(film) == bool(flags)


def test_h265_tells_its_scan() -> None:
    """Which few cameras use with fields."""
    assert [announces_interlaced(bytes.fromhex(text)) for text in H265] == [True, False]


@given(st.binary(max_size=80))
def test_any_headers_are_read_to_an_end(tail: bytes) -> None:
    """They come from outside: nothing is raised, whatever they hold."""
    for head in (
        b"",
        b"\x00\x00\x01\x67",
        b"\x00\x00\x01\x67\xf4\x00\x28",
        b"\x01d\x00\x16\xff\xe1\x00\x50\x67",
    ):
        assert announces_interlaced(head + tail) in (True, False)
