"""Sources: what opens gives its frames with good times; what does not says why."""

from __future__ import annotations

import csv
import os
import re
import shutil
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from service.errors import (
    NoFramesError,
    NotAVideoError,
    SourceAuthenticationError,
    SourceError,
    SourceNotFoundError,
    SourceTimeoutError,
)
from service.sources import Source, open_source, redact
from service.sources.video import as_bgr
from service.types import Frame, Image
from tests.service.sources.matroska import write_matroska

WriteVideo = Callable[..., Path]

REFUSED: dict[str, tuple[type[SourceError], str]] = {
    "exo_audio_only.mp4": (NotAVideoError, "sound but no video"),
    "fate_pmtchange.mp4": (NoFramesError, "mpg2"),
    "lfs_pointer.mp4": (NotAVideoError, "git lfs pull"),
    "php_wrongfile.mp4": (NotAVideoError, "48 bytes"),
    "pp_9bytes.mpeg": (NotAVideoError, "text"),
    "pp_corrupted.mp4": (NotAVideoError, "sound but no video"),
    "si_broken.mp4": (NotAVideoError, "damaged"),
    "si_empty.flv": (NotAVideoError, "13 bytes"),
    "small.avi": (NoFramesError, "FMP4"),
    "small_262B.mp4": (NotAVideoError, "262 bytes"),
}
ENDED_EARLY = {
    "fate_displaymatrix.mp4",
    "fate_hevc_two_first_slice.mp4",
    "fate_init_nonkeyframe.mp4",
    "fate_truncated_part.mp4",
    "fate_truncated_part2.mp4",
}
BEYOND_OPENCV = {
    "av1.mkv": 125,
    "corrupt_decord.mp4": 49,
    "fate_displaymatrix.mp4": 33,
    "fate_truncated_part.mp4": 350,
    "fate_truncated_part2.mp4": 65,
}
"""Frames of files that OpenCV has no decoder for, or in which it stops at damage before the last."""


def read_to_end(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        frames.append(Frame(frame.source_id, frame.index, frame.pts, frame.captured_at, frame.image[:1, :1]))
    assert source.read() is None
    assert [f.index for f in frames] == list(range(len(frames)))
    assert frames[0].pts == 0
    assert all(0 < later.pts - earlier.pts <= 60 for earlier, later in pairwise(frames))
    return frames


def test_every_damaged_odd_or_empty_file_gives_frames_or_a_clear_error(clips: Path) -> None:
    """Robust files: as many frames as decode with rising times, ends told when early, or a typed error."""
    table = {row["file"]: row for row in csv.DictReader((clips / "clips.csv").read_text().splitlines())}
    early = set()
    for path in sorted((clips / "robust").iterdir()):
        if path.name in REFUSED:
            kind, words = REFUSED[path.name]
            with pytest.raises(kind, match=words) as caught:
                open_source(str(path))
            assert type(caught.value) is kind
            continue
        row = table[f"robust/{path.name}"]
        with open_source(str(path)) as source:
            frames = read_to_end(source)
            count = BEYOND_OPENCV.get(path.name, int(row["frames_decoded"]))
            assert len(frames) == source.frames_read == count, path.name
            assert (source.ending is not None) == source.ended_early
            if source.ended_early:
                early.add(path.name)
            facts = source.properties
            assert not row["width"] or (facts.width, facts.height) == (int(row["width"]), int(row["height"]))
            assert facts.fps == pytest.approx(float(row["fps"]), abs=0.01)
            assert not facts.is_live
    assert early == ENDED_EARLY


def test_frames_hidden_by_an_edit_list_are_not_missed(clips: Path) -> None:
    """A trimmed clip that counts the frames it no longer shows is complete."""
    with open_source(str(clips / "fencing" / "sabre_b.mp4")) as source:
        assert len(read_to_end(source)) == 102
        assert not source.ended_early


def test_a_file_cut_off_keeps_what_it_has(write_video: WriteVideo) -> None:
    """Half a download gives its frames, and says that there should have been more."""
    path = write_video("cut.avi", count=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(str(path)) as source:
        frames = read_to_end(source)
        assert 10 <= len(frames) < 50
        assert source.ended_early
        assert "of 60 frames" in str(source.ending)


def spoil(path: Path, lost: list[int]) -> None:
    """Put zeros in the place of these pictures of a video."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for number in lost:
        data = data.replace(packets[number], bytes(len(packets[number])))
    path.write_bytes(data)


def test_damage_costs_a_file_pictures_but_not_the_rest(write_video: WriteVideo) -> None:
    """A bad spot, be it at the start, is passed over: the others come, at their times."""
    path = write_video("scratched.avi", count=30)
    spoil(path, [0, 10, 11])
    with open_source(str(path)) as source:
        frames = [(frame.pts, frame.image[0, 0, 0]) for frame in iter(source.read, None)]
        assert not source.ended_early
    numbers = [*range(1, 10), *range(12, 30)]
    assert [pts for pts, _ in frames] == pytest.approx([(number - 1) / 10 for number in numbers])
    np.testing.assert_allclose([grey for _, grey in frames], [8 * number for number in numbers], atol=2)


def test_much_damage_on_the_way_is_told(write_video: WriteVideo) -> None:
    """Who gets two thirds of a video hears so, even if its last picture is there."""
    path = write_video("scratched.avi", count=30)
    spoil(path, list(range(10, 20)))
    with open_source(str(path)) as source:
        assert len(read_to_end(source)) == 20
        assert "only 20 of 30 frames decode" in str(source.ending)


def test_a_file_without_a_rate_is_measured(tmp_path: Path) -> None:
    """The clock of its container, 1000 a second, is not taken for the rate; a pause does not spoil it."""
    random = np.random.default_rng(0)
    image = np.zeros((48, 64, 3), np.uint8)
    times = [index / 30 + random.uniform(0, 0.012) for index in range(90)]
    for pause in (0.0, 3.0):
        shown = [(time + pause * (index > 3), image) for index, time in enumerate(times)]
        path = write_matroska(tmp_path / "clip.mkv", shown)
        capture = cv2.VideoCapture(str(path))
        assert capture.get(cv2.CAP_PROP_FPS) == 1000
        capture.release()
        with open_source(str(path)) as source:
            assert source.properties.fps == pytest.approx(30, rel=0.1)
            assert source.properties.frame_count == pytest.approx((3 + pause) * 30, rel=0.1)
            frames = read_to_end(source)
            assert [f.pts for f in frames] == pytest.approx([t - shown[0][0] for t, _ in shown], abs=0.002)
            assert not source.ended_early


def test_a_mean_rate_over_a_jump_of_the_clock_is_not_the_rate(tmp_path: Path) -> None:
    """Nor is a rate that is truly low, or cannot be measured, taken for another one."""
    shown = [np.full((48, 64, 3), 10 * index, np.uint8) for index in range(12)]
    for durations, fps in (([100] * 9 + [600_000] + [100] * 2, 10), ([5000] * 6, 0.2), ([5000], 0.2)):
        path = write_animation(tmp_path / "clip.gif", shown[: len(durations)], durations)
        with open_source(str(path)) as source:
            assert source.properties.fps == pytest.approx(fps)
            assert len(read_to_end(source)) == len(durations)


def write_animation(path: Path, images: list[Image], milliseconds: list[int]) -> Path:
    animation = cv2.Animation()
    animation.frames, animation.durations = images, milliseconds
    assert cv2.imwriteanimation(str(path), animation)
    return path


def test_a_picture_that_moves_is_a_video(tmp_path: Path) -> None:
    """Every frame of an animated PNG, whatever its name; WebP, which FFmpeg does not decode, is refused."""
    shown = [np.full((48, 64, 3), 20 * index, np.uint8) for index in range(6)]
    for suffix in ("png", "apng"):
        with open_source(str(write_animation(tmp_path / f"a.{suffix}", shown, [200] * 6))) as source:
            assert source.properties.fps == 5
            assert len(read_to_end(source)) == 6
    with pytest.raises(NoFramesError, match="webp"):
        open_source(str(write_animation(tmp_path / "a.webp", shown, [200] * 6)))
    cv2.imwrite(str(tmp_path / "still.webp"), shown[0])
    with open_source(str(tmp_path / "still.webp")) as source:
        assert len(read_to_end(source)) == 1


def test_what_a_camera_sent_over_http_can_be_read_from_a_file(tmp_path: Path) -> None:
    """Motion JPEG as multipart, which curl stores as it comes."""
    path = tmp_path / "camera.mjpg"
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    part = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)
    path.write_bytes(part * 12)
    with open_source(str(path)) as source:
        assert len(read_to_end(source)) == 12


@pytest.mark.parametrize(
    "name",
    [
        "-dash.avi",
        "100%.avi",
        "a%03d.avi",
        'it\'s "q".avi',
        "a?b&c+d.avi",
        "http:x.avi",
        "0",
        "ü |;.avi",
        "a\nb.avi",
    ],
)
def test_a_path_that_exists_is_taken_literally(
    name: str, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No sign in a file name makes it an option, a pattern, an address or a device."""
    write_video("plain.avi").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(name) as source:
        assert [round(f.pts, 6) for f in read_to_end(source)] == [i / 10 for i in range(12)]


def test_a_name_that_is_not_utf8_is_told(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenCV dies of it: a video, or one in such a folder, is to be renamed; an image is read just so."""
    strange = tmp_path / "na\udcffme"
    strange.mkdir()
    write_video("plain.avi").rename(strange / "plain.avi")
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "plain.png").rename(tmp_path / "na\udcffme.png")
    monkeypatch.chdir(strange)
    for name in ("plain.avi", str(strange / "plain.avi"), "http://localhost/\udcff"):
        with pytest.raises(SourceError, match="rename it"):
            open_source(name)
    with open_source(str(tmp_path)) as source:
        assert len(read_to_end(source)) == 1


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "txt"])
def test_a_file_cannot_make_others_be_opened(suffix: str, write_video: WriteVideo, tmp_path: Path) -> None:
    """Playlists under any name are refused, with a byte that is not text in them as well."""
    write_video("secret.avi")
    for text in (
        "ffconcat version 1.0\nfile secret.avi\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.avi\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ):
        for tail in (b"", b"# \x00\xff\n"):
            path = tmp_path / f"harmless.{suffix}"
            path.write_bytes(text.encode() + tail)
            with pytest.raises(NotAVideoError, match="playlist"):
                open_source(str(path))


def test_the_decoder_itself_refuses_playlists(write_video: WriteVideo, tmp_path: Path) -> None:
    """Second line of defence: FFmpeg is told which containers and protocols it may use."""
    from service.sources.ffmpeg import CONTAINERS, Opening, open_capture

    write_video("secret.avi")
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.avi\n")
    before = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    assert not open_capture(Opening(str(path), "list", options, 5, 0, 1)).isOpened()
    assert os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS") == before


def test_what_is_not_video_says_so(tmp_path: Path) -> None:
    """Missing, empty, a folder without images, a pipe, a camera that is not there, an unknown scheme."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, kind, words in (
        ("none.mp4", SourceNotFoundError, "no such file"),
        ("empty.mp4", NotAVideoError, "0 bytes"),
        ("folder", NotAVideoError, "directory without images"),
        ("pipe", NotAVideoError, "not a regular file"),
    ):
        with pytest.raises(kind, match=words):
            open_source(str(tmp_path / name))
    for device in (97, "97", "99999999999"):
        with pytest.raises(SourceNotFoundError, match="no such camera"):
            open_source(device)
    for odd in ("ftp://localhost/x", "concat://x", "gopher://x"):
        with pytest.raises(SourceError, match="cannot be opened"):
            open_source(odd)
    with pytest.raises(SourceNotFoundError):
        open_source("pipe:0")
    with pytest.raises(SourceNotFoundError):
        open_source("rtsp://localhost/\r\nX: y")
    with pytest.raises(SourceError, match="not allowed"):
        open_source("http://localhost/", allow_network=False)


def test_image_sequences_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """A folder and a pattern give the same frames, 2 before 10; an unreadable image is told."""
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"f{number}.png"), np.full((6, 8), number * 20, np.uint8))
    for name in (tmp_path, tmp_path / "f%d.png"):
        with open_source(str(name)) as source:
            frames = read_to_end(source)
            assert [int(f.image[0, 0, 0]) for f in frames] == [20, 40, 200]
            assert source.properties.frame_count == 3
            assert not source.ended_early
    (tmp_path / "f3.png").write_bytes(b"\x89PNG damaged")
    os.mkfifo(tmp_path / "f4.png")  # to open it would be to wait for ever
    for name in (tmp_path, tmp_path / "f%d.png"):
        with open_source(str(name)) as source:
            assert len(read_to_end(source)) == 3
            assert source.ended_early
            assert "3 of 4" in str(source.ending)
    with pytest.raises(NoFramesError):
        open_source(str(tmp_path / "f3.png"))


def test_an_image_of_too_many_pixels_costs_no_other(tmp_path: Path) -> None:
    """A header that tells of 65,000 × 65,000 pixels, damaged or not: that image is left out and named."""
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.bmp"), np.full((6, 8, 3), number * 20, np.uint8))
    huge = bytearray((tmp_path / "1.bmp").read_bytes())
    huge[18:26] = struct.pack("<ii", 65_000, 65_000)
    (tmp_path / "1.bmp").write_bytes(huge)
    with open_source(str(tmp_path)) as source:
        assert [int(frame.image[0, 0, 0]) for frame in read_to_end(source)] == [0, 40, 60]
        assert re.search(r"only 3 of 4 images .*1\.bmp", str(source.ending))
    with pytest.raises(NoFramesError, match=r"not one of 1 images .*1\.bmp"):
        open_source(str(tmp_path / "1.bmp"))


def test_any_image_becomes_bgr(tmp_path: Path) -> None:
    """Grey, alpha and 16 bits reach the model as three channels of 8 bits, of videos as of image files."""
    for shape, kind in (
        ((4, 4), np.uint8),
        ((4, 4, 1), np.uint8),
        ((4, 4, 4), np.uint8),
        ((4, 4), np.uint16),
    ):
        white = np.full(shape, np.iinfo(kind).max, kind)
        cv2.imwrite(str(tmp_path / "white.png"), white)
        with open_source(str(tmp_path / "white.png")) as source:
            frame = source.read()
        assert frame
        for image in (as_bgr(white), frame.image):
            assert image.shape == (4, 4, 3)
            assert image.dtype == np.uint8
            assert image.min() == 255


def test_reading_after_close_is_an_error(write_video: WriteVideo) -> None:
    """A closed source never touches released memory; closing twice does no harm."""
    source = open_source(str(write_video()))
    source.close()
    source.close()
    with pytest.raises(SourceError, match="after close"):
        source.read()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("clip@home.mp4", "clip@home.mp4"),
        ("rtsp://u:p@localhost:8554/a", "rtsp://***@localhost:8554/a"),
        ("rtsp://u:p@ss@localhost/a", "rtsp://***@localhost/a"),
        ("rtsp://u:p/ss@localhost/a", "rtsp://***@localhost/a"),
        ("http://localhost:80/a@b", "http://localhost:80/a@b"),
        ("http://localhost/v?token=secret", "http://localhost/v?***"),
    ],
)
def test_credentials_are_never_shown(source: str, shown: str) -> None:
    """Names of sources go into logs and events; user names, passwords and tokens do not."""
    assert redact(source) == shown


def test_nothing_is_written_to_the_terminal(clips: Path) -> None:
    """FFmpeg and OpenCV keep their complaints about damaged files to themselves."""
    code = (
        "import sys; from service.errors import SourceError; from service.sources import open_source\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        with open_source(name) as source:\n"
        "            while source.read(): pass\n"
        "    except SourceError: pass\n"
    )
    names = ["corrupt_decord.mp4", "fate_hevc_two_first_slice.mp4", "pp_corrupted.mp4", "av1.mkv"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(clips / "robust" / name) for name in names)],
        capture_output=True,
        cwd=Path(__file__).parents[3],
        env=environment,
        timeout=60,
        check=True,
    )
    assert done.stdout + done.stderr == b""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RtspGuard(socketserver.StreamRequestHandler):
    """Asks everyone for Basic credentials; knows user u with password p, and then has no such stream."""

    def handle(self) -> None:
        while request := self.rfile.readline():
            head = [request]
            while (line := self.rfile.readline()).strip():
                head.append(line)
            allowed = b"Authorization: Basic dTpw\r\n" in head
            status = "404 Not Found" if allowed else "401 Unauthorized"
            cseq = next((line for line in head if line.startswith(b"CSeq")), b"CSeq: 1\r\n").decode()
            challenge = "" if allowed else 'WWW-Authenticate: Basic realm="x"\r\n'
            self.wfile.write(f"RTSP/1.0 {status}\r\n{cseq}{challenge}\r\n".encode())


def test_rtsp_refusals_say_what_is_wrong() -> None:
    """Wrong credentials, right ones with a wrong path, and nobody there are told apart; no password leaks."""
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), RtspGuard)) as port:
        for user in ("", "u:wrong@"):
            with pytest.raises(SourceAuthenticationError, match="user name and password") as caught:
                open_source(f"rtsp://{user}localhost:{port}/cam", open_timeout=5)
            assert "wrong" not in str(caught.value)
        with pytest.raises(SourceNotFoundError, match="404"):
            open_source(f"rtsp://u:p@localhost:{port}/cam", open_timeout=5)
    with pytest.raises(SourceNotFoundError, match="nothing listens"):
        open_source(f"rtsp://localhost:{port}/cam", open_timeout=5)


def web_server(folder: Path) -> ThreadingHTTPServer:
    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.lstrip("/")
            if self.path == "/hang":
                self.rfile.read(1)
            elif self.path == "/guarded":
                self.send_error(401)
            elif path.is_file():
                self.send_response(200)
                self.send_header("Content-Length", str(path.stat().st_size))
                self.end_headers()
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)
            else:
                self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Web)


def test_http_addresses(write_video: WriteVideo, tmp_path: Path) -> None:
    """A file on a server reads like a file; refusals, text and silence have their own errors."""
    write_video("clip.mp4")
    (tmp_path / "page.html").write_text("hello")
    with serving(web_server(tmp_path)) as port:
        base = f"http://localhost:{port}"
        with open_source(f"{base}/clip.mp4") as source:
            assert not source.properties.is_live
            assert len(read_to_end(source)) == 12
        for path, kind in (
            ("none.mp4", SourceNotFoundError),
            ("guarded", SourceAuthenticationError),
            ("page.html", NotAVideoError),
            ("hang", SourceTimeoutError),
        ):
            with pytest.raises(kind):
                open_source(f"{base}/{path}", open_timeout=1, read_timeout=1)
