"""Cameras for tests: a real RTSP server in a process of its own, and what it shows."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from service.types import Image
from tests.service.fakes import scene

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
"""The bindings are a Debian package, which a virtual environment does not see."""
PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi"
SIZE = (320, 180)
FPS = 12


@cache
def _missing() -> str:
    """Why no server can be run here; empty if one can."""
    try:
        asked = subprocess.run([SYSTEM_PYTHON, SERVER, "--check"], capture_output=True, text=True, timeout=60)
    except OSError as error:
        return str(error)
    lines = asked.stderr.strip().splitlines()
    return lines[-1] if asked.returncode else ""


needs_rtsp = pytest.mark.skipif(
    bool(_missing()), reason=f"{_missing()} (as root: apt-get install {PACKAGES})"
)


def film(name: str, seconds: float = 2.0, size: tuple[int, int] = SIZE, fps: int = FPS) -> list[Image]:
    """A scene of ``tests.service.fakes`` with what a camera sees in it: some texture, and a thing that moves.

    ``black`` is a camera whose lens is covered: darkness and a little noise.
    """
    width, height = size
    count = max(1, round(seconds * fps))
    chance = np.random.default_rng(len(name))
    if name == "black":
        return [chance.integers(0, 4, (height, width, 3), np.uint8) for _ in range(count)]
    texture = chance.integers(-25, 26, (height // 10, width // 10, 1)).astype(np.float32)
    texture = cv2.resize(texture - texture.mean(), size)[:, :, None]
    still = np.clip(scene(name, width, height) + texture, 0, 255).astype(np.uint8)
    side = height // 5
    images = []
    for i in range(count):
        image = still.copy()
        x = (width - side) * i // count
        cv2.rectangle(image, (x, side), (x + side, 2 * side), (200, 200, 200), cv2.FILLED)
        images.append(image)
    return images


def film_of_file(path: Path, size: tuple[int, int] = SIZE) -> list[Image]:
    """The frames of a video file."""
    capture = cv2.VideoCapture(str(path))
    images = []
    while True:
        found, image = capture.read()
        if not found:
            break
        images.append(np.asarray(cv2.resize(image, size), np.uint8))
    capture.release()
    assert images, path
    return images


class RtspServer:
    """A camera; a context manager that ends it. It keeps its address when it is started again.

    It shows ``frames`` in a loop, which are of ``size`` (width, height). With ``user`` it wants a password.
    """

    def __init__(
        self,
        frames: Iterable[Image] | None = None,
        *,
        size: tuple[int, int] = SIZE,
        fps: int = FPS,
        user: str | None = None,
        password: str = "",
    ) -> None:
        self._frames = list(frames) if frames is not None else film("red")
        self._size = size
        self._fps = fps
        self._user = user
        self._password = password
        self._port = 0
        self._folder = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[str] | None = None
        self._shown = 0

    @property
    def url(self) -> str:
        """Its address, credentials included."""
        return self.url_as(self._user, self._password)

    def url_as(self, user: str | None, password: str) -> str:
        """Its address with other credentials."""
        who = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"rtsp://{who}127.0.0.1:{self._port}/live"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        assert self._process is None
        width, height = self._size
        command: list[str | Path] = [SYSTEM_PYTHON, SERVER, f"--port={self._port}", f"--fps={self._fps}"]
        command += [f"--width={width}", f"--height={height}"]
        if self._user:
            command += [f"--user={self._user}", f"--password={self._password}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the RTSP server ended; what it said is above"
        self._port = int(line)
        self.show(self._frames)

    def show(self, frames: Iterable[Image]) -> None:
        """Show other frames from now on, in a loop. A single one is a picture that has frozen."""
        assert self._process
        assert self._process.stdin
        width, height = self._size
        self._frames = list(frames)
        assert all(image.shape == (height, width, 3) for image in self._frames)
        self._shown += 1
        path = Path(self._folder.name, str(self._shown))
        path.write_bytes(b"".join(image.tobytes() for image in self._frames))
        self._process.stdin.write(f"{path}\n")

    def freeze(self) -> None:
        """Show the same picture from now on."""
        self.show(self._frames[:1])

    def kill(self) -> None:
        """End it without a word to anybody, as when the cable is pulled; a no-op if it does not run."""
        if self._process is None:
            return
        self._process.kill()  # ends one that is paused, too
        self._process.communicate()
        self._process = None

    def pause(self) -> None:
        """Have it hang: its connections stay open, and nothing comes."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def restart(self, frames: Iterable[Image] | None = None, size: tuple[int, int] | None = None) -> None:
        """Kill it and start it again on the same port, perhaps with other frames of another size."""
        self.kill()
        self._size = size or self._size
        self._frames = self._frames if frames is None else list(frames)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self._folder.cleanup()


if __name__ == "__main__":  # a camera to try things with: python -m tests.rtsp
    with RtspServer() as camera:
        print(camera.url, file=sys.stderr)
        signal.pause()
