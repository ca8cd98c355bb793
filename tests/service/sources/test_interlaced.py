"""Interlaced video, of which OpenCV returns black or grey pictures without an error, and AV1: none."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from service.errors import SourceError, SourceTimeoutError
from service.sources import open_source
from service.sources.containers import look_into

WIDTH, HEIGHT, FPS, FRAMES = 96, 64, 25, 20
QUARTER_TURN = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)


def film(path: Path, codec: str, flags: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Write a film, red above and blue below, that grows brighter."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"flags": flags} if flags else {})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for number in range(FRAMES):
            image = np.zeros((height, width, 3), np.uint8)
            image[: height // 2, :, 0] = 100 + 5 * number
            image[height // 2 :, :, 2] = 100 + 5 * number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def halves(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean BGR of the upper and the lower half, its border left out."""
    middle = image.shape[0] // 2
    return image[: middle - 4].mean((0, 1)), image[middle + 4 :].mean((0, 1))


@pytest.mark.parametrize(
    ("name", "codec", "flags", "size"),
    [
        ("broadcast.ts", "mpeg2video", "+ilme+ildct", (WIDTH, HEIGHT)),
        ("disc.mpg", "mpeg2video", "+ilme+ildct", (WIDTH, HEIGHT)),
        ("camcorder.avi", "dvvideo", "", (720, 576)),
    ],
)
def test_every_picture_of_an_interlaced_file_is_right(
    tmp_path: Path, name: str, codec: str, flags: str, size: tuple[int, int]
) -> None:
    """Broadcasts, discs and camcorders: what is shown, how many pictures, and when."""
    with open_source(str(film(tmp_path / name, codec, flags, size))) as source:
        frames = list(iter(source.read, None))
        assert not source.ended_early
    assert (source.properties.width, source.properties.height, source.properties.fps) == (*size, FPS)
    times = [frame.pts for frame in frames]  # a program stream (.mpg) has them for some pictures only
    assert times == pytest.approx([n / FPS for n in range(FRAMES)], abs=1.01 / FPS)
    for number, frame in enumerate(frames):
        above, below = halves(frame.image)
        np.testing.assert_allclose(above, [0, 0, 100 + 5 * number], atol=12)
        np.testing.assert_allclose(below, [100 + 5 * number, 0, 0], atol=12)


def test_what_moves_is_not_torn(tmp_path: Path) -> None:
    """A line of an interlaced picture is of another moment than its neighbours; what is shown is of one."""
    path = tmp_path / "camera.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=FPS, options={"flags": "+ilme+ildct"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        for number in range(FRAMES):
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            for field in (0, 1):  # a bar that moves by three pixels from field to field
                left = 8 + 3 * (2 * number + field) % (WIDTH - 32)
                image[field::2, left : left + 16] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())

    def torn(frame: np.ndarray) -> float:
        """Mean difference of a line from the one above it."""
        lines = frame.mean(axis=2)[8:-8]
        return float(np.abs(lines[1:] - lines[:-1]).mean())

    with av.open(str(path)) as container:
        as_sent = [torn(picture.to_ndarray(format="bgr24")) for picture in container.decode(video=0)]
    with open_source(str(path)) as source:
        shown = [torn(frame.image) for frame in iter(source.read, None)]
    assert len(shown) == len(as_sent) == FRAMES
    assert np.median(shown) < 0.25 * np.median(as_sent)


@pytest.mark.parametrize("name", ["web.mp4", "recording.mkv"])
def test_every_picture_of_av1_is_right(tmp_path: Path, name: str) -> None:
    """What video sites and recorders of screens make, for which OpenCV brings no decoder."""
    with open_source(str(film(tmp_path / name, "libsvtav1", ""))) as source:
        frames = list(iter(source.read, None))
        assert not source.ended_early
    assert (source.properties.fps, source.properties.frame_count) == (FPS, FRAMES)
    assert [frame.pts for frame in frames] == pytest.approx([n / FPS for n in range(FRAMES)], abs=0.002)
    for number, frame in enumerate(frames):
        above, below = halves(frame.image)
        np.testing.assert_allclose(above, [0, 0, 100 + 5 * number], atol=12)
        np.testing.assert_allclose(below, [100 + 5 * number, 0, 0], atol=12)


def test_an_interlaced_file_is_turned_as_it_says(tmp_path: Path) -> None:
    """A camera that was held upright says so in the file; red is then on the right."""
    path = film(tmp_path / "upright.mp4", "mpeg2video", "+ilme+ildct")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") - 4 + 48
    data[matrix : matrix + 36] = QUARTER_TURN
    path.write_bytes(data)
    with open_source(str(path)) as source:
        frame = source.read()
    assert frame is not None
    assert frame.image.shape == (WIDTH, HEIGHT, 3)
    left, right = halves(frame.image.swapaxes(0, 1))
    assert [left.argmax(), right.argmax()] == [0, 2]


def test_damage_costs_an_interlaced_file_pictures_but_not_the_rest(tmp_path: Path) -> None:
    """A scratched disc is read to its end."""
    path = film(tmp_path / "scratched.ts", "mpeg2video", "+ilme+ildct")
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 400] = np.random.default_rng(1).bytes(400)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        frames = list(iter(source.read, None))
    assert len(frames) > FRAMES // 2
    above, _ = halves(frames[-1].image)
    np.testing.assert_allclose(above, [0, 0, 100 + 5 * (FRAMES - 1)], atol=12)


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_others_are_left_to_opencv(tmp_path: Path, codec: str) -> None:
    """Only where OpenCV fails is anything else used."""
    assert not look_into(film(tmp_path / "film.avi", codec, ""), {}).is_interlaced


@contextmanager
def broadcast(path: Path, then: str) -> Iterator[str]:
    """The address of a server that sends a film once, and ``ends``, or ten times, and ``hangs``.

    Or it ``redirects`` everyone but the first to another address of its own.
    """
    asked: list[str] = []

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if then == "redirects" and len(asked) == 2:
                self.send_response(302)
                self.send_header("Location", "/elsewhere.ts")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(path.read_bytes() * (10 if then == "hangs" else 1))
                if then == "hangs":
                    self.rfile.read(1)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tv.ts"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "/elsewhere.ts" not in asked


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_an_interlaced_stream_is_right(tmp_path: Path, codec: str) -> None:
    """What a television or an older camera sends: its pictures, and that it ended."""
    with (
        broadcast(film(tmp_path / "film.ts", codec, "+ilme+ildct"), "ends") as address,
        open_source(address) as source,
    ):
        assert source.properties.is_live
        frames = list(iter(source.read, None))
        assert source.ended_early
    assert len(frames) == FRAMES
    for number, frame in enumerate(frames):
        above, below = halves(frame.image)
        np.testing.assert_allclose(above, [0, 0, 100 + 5 * number], atol=12)
        np.testing.assert_allclose(below, [100 + 5 * number, 0, 0], atol=12)


def test_an_interlaced_stream_that_hangs_is_given_up(tmp_path: Path) -> None:
    """As any other is."""
    with (
        broadcast(film(tmp_path / "film.ts", "mpeg2video", "+ilme+ildct"), "hangs") as address,
        open_source(address, read_timeout=0.5) as source,
        pytest.raises(SourceTimeoutError, match=r"no new frame within 0\.5 s"),
    ):
        list(iter(source.read, None))


def test_an_interlaced_stream_leads_nowhere_at_the_second_call(tmp_path: Path) -> None:
    """A server that redirects only the one who weaves the pictures is not followed either."""
    with (
        broadcast(film(tmp_path / "film.ts", "mpeg2video", "+ilme+ildct"), "redirects") as address,
        pytest.raises(SourceError, match="cannot be opened once more"),
    ):
        open_source(address, host="camera.example")


def test_what_cannot_be_read_is_not_interlaced(tmp_path: Path) -> None:
    """The reasons why a file cannot be read are told elsewhere."""
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    assert not look_into(path, {}).is_interlaced
