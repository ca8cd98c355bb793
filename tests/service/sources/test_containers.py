"""What a file holds beside its pictures decides what is said of it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from service.errors import NotAVideoError
from service.sources import open_source
from service.sources.containers import Contents, look_into
from tests.service.sources.test_opening import read_to_end

RATE = 16000


def make(path: Path, *, pictures: int, seconds: float, begins: int = 0) -> Path:
    """Write grey pictures, 25 a second, beside ``seconds`` of silence, none of either for 0.

    The clock begins at ``begins`` seconds.
    """
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=25) if pictures else None
        if film:
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=RATE) if seconds else None
        for number in range(pictures):
            image = np.full((48, 64, 3), number % 200, np.uint8)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = 25 * begins + number
            container.mux(film.encode(picture))
        for number in range(int(seconds * RATE) // 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = RATE, number * 1024
            container.mux(sound.encode(silence))
        for stream in filter(None, (film, sound)):
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["song.mka", "song.ts", "song.m4a", "song.flv"])
def test_sound_alone_is_told(tmp_path: Path, name: str) -> None:
    """Whoever gives a sound file hears that, not that it may be damaged."""
    with pytest.raises(NotAVideoError, match="sound but no video"):
        open_source(str(make(tmp_path / name, pictures=0, seconds=1)))


def outcome(path: Path) -> tuple[int, bool]:
    """How many pictures a file gives, and whether it says that it ended early."""
    with open_source(str(path)) as source:
        return len(read_to_end(source)), source.ended_early


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.mp4"])
def test_sound_that_goes_on_is_no_damage(tmp_path: Path, name: str) -> None:
    """Many phones and editors leave sound that is longer than the pictures."""
    assert outcome(make(tmp_path / name, pictures=50, seconds=4)) == (50, False)


def test_a_file_with_sound_that_was_cut_off_is_told(tmp_path: Path) -> None:
    """Half a download lacks sound as well as pictures."""
    path = make(tmp_path / "clip.mkv", pictures=200, seconds=8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    count, ended_early = outcome(path)
    assert 50 < count < 150
    assert ended_early


def test_an_avi_that_was_cut_off_is_told(tmp_path: Path) -> None:
    """FFmpeg takes its duration from what is left of it."""
    path = make(tmp_path / "clip.avi", pictures=200, seconds=0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    count, ended_early = outcome(path)
    assert 100 < count < 160
    assert ended_early


@pytest.mark.parametrize("share", [1, 0.6])
def test_a_clock_that_begins_late_is_no_damage(tmp_path: Path, share: float) -> None:
    """Recorders cut files out of a clock that goes on; Matroska announces its time since 0."""
    path = make(tmp_path / "clip.mkv", pictures=200, seconds=0, begins=30)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    count, ended_early = outcome(path)
    assert (count == 200) is (share == 1)
    assert ended_early is (share != 1)


def test_pictures_that_do_not_decode_are_told_although_the_sound_goes_on(tmp_path: Path) -> None:
    """What is missing in the middle is missing, too."""
    path = make(tmp_path / "clip.mkv", pictures=50, seconds=4)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    for packet in packets[10:]:
        data = data.replace(packet, b"\0" * len(packet))
    path.write_bytes(data)
    count, ended_early = outcome(path)
    assert count < 30
    assert ended_early


def test_a_missing_file_holds_nothing(tmp_path: Path) -> None:
    """Why it cannot be opened is told elsewhere."""
    assert look_into(tmp_path / "nothing.mp4", {}) == Contents()
