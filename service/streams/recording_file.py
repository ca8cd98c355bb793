"""One recording: Motion JPEG in an AVI file, written in a thread of its own.

It is made of the pictures that the live view shows too: nothing is encoded twice. The file grows under
``<name>.part``, which plays whenever its writer is killed; ``adopt`` gives what such a one left its name.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np

from service.sinks.avi import AviTooLongError, count_frames
from service.sinks.mjpg_file import FLUSH_SECONDS, encode_jpeg, exact_rate, letterbox
from service.sinks.timeline import Timeline

WAITING: Final = 64
"""Pictures that may wait for the disk before a recording is given up."""
JPEG_QUALITY: Final = 85
SUFFIX: Final = ".avi"
PART: Final = ".part"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shot:
    """An annotated frame as JPEG; ``pts`` in seconds of media time."""

    pts: float
    width: int
    height: int
    jpeg: bytes


class RecordingFile:
    """``fps`` is the rate of the video: frames that come less often are repeated, so that it lasts as long as
    what it shows. It begins with ``shots``; ``done`` is called from another thread when it is whole. What
    cannot be written is logged, and ``is_given_up``.
    """

    def __init__(self, path: Path, fps: float, shots: list[Shot], done: Callable[[], None]) -> None:
        self._path = path
        self._fps = fps
        self._shots = shots
        self._done = done
        self._queue: queue.Queue[Shot | None] = queue.Queue(WAITING)
        self.is_given_up = False
        self.thread = threading.Thread(target=self._run, name=f"record {path.name}", daemon=True)
        self.thread.start()

    def put(self, shot: Shot) -> None:
        """Take the next frame; never waits, and gives up where too many wait already."""
        if self.is_given_up:
            return
        try:
            self._queue.put_nowait(shot)
        except queue.Full:
            self.is_given_up = True
            logger.warning("the recording %s is given up: the disk is too slow", self._path)
            self.finish()

    def finish(self) -> None:
        """Have the file end here; never waits: where there is no room, it costs a picture."""
        if self._queue.full():
            with suppress(queue.Empty):  # it is read just now
                self._queue.get_nowait()
        with suppress(queue.Full):  # cannot be: only the thread that calls this puts anything
            self._queue.put_nowait(None)

    def _run(self) -> None:
        part = self._path.with_name(self._path.name + PART)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                self._write_all(file)
        except (OSError, AviTooLongError, ValueError, cv2.error) as error:
            self.is_given_up = True
            logger.warning("the recording %s is given up: %s", self._path, error)
        if _keep(part):  # after a failure too: what was written before
            self._done()

    def _write_all(self, file: BinaryIO) -> None:
        timeline: Timeline | None = None
        size = (0, 0)
        flushed = time.monotonic()
        while (shot := self._next()) is not None:
            if timeline is None:
                size = (shot.width, shot.height)
                timeline = Timeline(file, *size, exact_rate(self._fps), origin=shot.pts)
            jpeg = shot.jpeg if (shot.width, shot.height) == size else _fitted(shot.jpeg, *size)
            timeline.place(jpeg, shot.pts)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                timeline.writer.flush()
                flushed = time.monotonic()
        if timeline is not None:
            timeline.writer.close()

    def _next(self) -> Shot | None:
        if self.is_given_up:
            return None
        if self._shots:
            return self._shots.pop(0)
        return self._queue.get()


def adopt(folder: Path) -> list[str]:
    """Give recordings whose writer was killed their names, which are returned; remove those without a frame.

    To be called when nobody writes into ``folder``.
    """
    return [part.stem for part in sorted(folder.glob(f"*{SUFFIX}{PART}")) if _keep(part)]


def _keep(part: Path) -> bool:
    """Give an unfinished file its name, or remove it if it has no frame; returns whether it has."""
    try:
        if count_frames(part):
            os.replace(part, part.with_suffix(""))
            return True
        part.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("what is left of the recording %s stays as it is: %s", part, error)
    return False


def _fitted(jpeg: bytes, width: int, height: int) -> bytes:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a picture cannot be decoded")
    return encode_jpeg(letterbox(np.asarray(image, np.uint8), width, height), JPEG_QUALITY)
