"""What several tests need: the third-party clips, and tiny real videos."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # so that tests can import helpers: from tests.service.slow_events import ...
    sys.path.insert(0, str(ROOT))

# In the background or under nohup programs begin deaf to signals that several tests send them; those that
# this process has a handler for they hear.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of third-party clips, which is not part of the repository."""
    folder = ROOT.parent / "shared" / "clips"
    if not (folder / "clips.csv").is_file():
        pytest.skip("the third-party clips (../shared/clips) are not on this machine")
    return folder


WriteVideo = Callable[..., Path]


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """Writes a real video of ``count`` frames: frame i is grey of brightness 8·i (modulo 256)."""

    def write(
        name: str = "clip.avi", count: int = 12, fps: float = 10.0, size: tuple[int, int] = (64, 48)
    ) -> Path:
        path = tmp_path / name
        codec = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "MJPG"}[path.suffix]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        assert writer.isOpened()
        for i in range(count):
            writer.write(np.full((size[1], size[0], 3), 8 * i % 256, np.uint8))
        writer.release()
        return path

    return write
