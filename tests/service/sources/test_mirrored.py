"""Files that say to turn, mirror or widen their pictures, as front cameras of telephones write them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from service.sources import open_source
from service.types import SQUARE, Image

ONE = 1 << 16
SHOWN = {
    "as stored": ((1, 0, 0, 1), lambda image: image),
    "turned": ((0, 1, -1, 0), lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)),
    "left to right": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "top to bottom": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: image[::-1, ::-1].swapaxes(0, 1)),
}
"""The matrix (a, b, c, d) of ISO/IEC 14496-12, 6.2.2, and what a player makes of the stored picture."""


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    a, b, c, d = (ONE * number for number in matrix)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") - 4 + 48
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def film(path: Path, codec: str, flags: str, aspect: Fraction = SQUARE) -> Path:
    """Write three frames of 96×64 whose corners are black, red, green and blue."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, 48:, 0] = image[32:, :48, 1] = image[32:, 48:, 2] = 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"flags": flags} if flags else {})
        stream.width, stream.height, stream.bit_rate = 96, 64, 4_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def first(path: Path, enough: tuple[int, int] | None = None) -> Image:
    with open_source(str(path), enough=enough) as source:
        frame = source.read()
        assert frame is not None
        assert (source.properties.height, source.properties.width) == frame.image.shape[:2]
    return frame.image


def corners(image: Image) -> np.ndarray:
    """Mean BGR of the four quarters, their borders left out."""
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    parts = [image[y : y + rows, x : x + columns] for y in (0, rows) for x in (0, columns)]
    return np.array([part[8:-8, 8:-8].mean((0, 1)) for part in parts])


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize(("codec", "flags"), [("mpeg4", ""), ("mpeg2video", "+ilme+ildct"), ("mjpeg", "")])
def test_pictures_are_as_a_player_shows_them(tmp_path: Path, codec: str, flags: str, shown: str) -> None:
    """Whether OpenCV decodes or PyAV: nobody stands on the head."""
    path = film(tmp_path / "clip.mp4", codec, flags)
    stored = first(path)
    matrix, as_shown = SHOWN[shown]
    image = first(with_matrix(path, matrix))
    np.testing.assert_allclose(corners(image), corners(as_shown(stored)), atol=12)


@pytest.mark.parametrize(
    ("codec", "flags", "shown", "aspect"),
    [
        ("mpeg4", "", "as stored", Fraction(4, 3)),
        ("mpeg4", "", "turned", Fraction(3, 4)),
        ("mpeg4", "", "transposed", Fraction(3, 4)),
        ("mpeg2video", "+ilme+ildct", "turned", Fraction(3, 4)),
    ],
)
def test_wide_pixels_are_turned_too(
    tmp_path: Path, codec: str, flags: str, shown: str, aspect: Fraction
) -> None:
    """Pixels that are wider than high are higher than wide once a picture was turned."""
    path = with_matrix(film(tmp_path / "clip.mp4", codec, flags, Fraction(4, 3)), SHOWN[shown][0])
    with open_source(str(path)) as source:
        assert source.properties.pixel_aspect == aspect


def test_motion_jpeg_of_less_size_is_mirrored_too(tmp_path: Path) -> None:
    """What is decoded at a fraction of its size is shown no other way."""
    path = film(tmp_path / "clip.mp4", "mjpeg", "")
    stored = first(path, (16, 16))
    image = first(with_matrix(path, SHOWN["top to bottom"][0]), (16, 16))
    assert image.shape == stored.shape == (32, 48, 3)
    np.testing.assert_allclose(image, stored[::-1], atol=2)
