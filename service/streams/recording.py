"""Keeps every event of a stream as annotated video, with some seconds before and after it.

Motion JPEG in an AVI file per event, made of the pictures that the live view shows too: nothing is encoded
twice. A file grows under ``<name>.part``, which plays whenever its writer is killed.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np

from service.sinks.avi import AviTooLongError, AviWriter
from service.sinks.mjpg_file import FLUSH_SECONDS, LONGEST_HOLE, exact_rate, letterbox
from service.types import Event, EventMessage, EventPhase

RING_BYTES: Final = 64 << 20
DETECTION: Final = 3.0
"""Seconds that are kept beyond ``before``: an event is announced that much after its start, or less."""
WAITING: Final = 64
"""Pictures that may wait for the disk before a recording is given up."""
MOST_FPS: Final = 60.0
JPEG_QUALITY: Final = 85

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shot:
    """An annotated frame as JPEG; ``pts`` in seconds of media time."""

    pts: float
    width: int
    height: int
    jpeg: bytes


class EventRecorder:
    """Follows the frames and events of one connection; the work on files is done in other threads.

    ``before`` and ``after`` are seconds, ``fps`` the rate of the video: frames that come less often are
    repeated, so that it lasts as long as what it shows. ``done`` is told the id of the event and the name
    of its file, from another thread. One recording goes on at a time: an event that begins in the margin
    of another ends that one's file. What cannot be written is logged and left.
    """

    def __init__(
        self, folder: Path, before: float, after: float, fps: float, done: Callable[[str, str], None]
    ) -> None:
        self._folder = folder
        self._before = before
        self._after = after
        self._fps = min(fps, MOST_FPS)
        self._done = done
        self._ring: deque[Shot] = deque()
        self._ring_bytes = 0
        self._recording: _Recording | None = None
        self._event: str | None = None
        self._until: float | None = None
        self._threads: list[threading.Thread] = []

    def add(self, shot: Shot) -> None:
        """Take the next frame; never waits."""
        self._ring.append(shot)
        self._ring_bytes += len(shot.jpeg)
        oldest = shot.pts - self._before - DETECTION
        while self._ring_bytes > RING_BYTES or self._ring[0].pts < oldest:
            self._ring_bytes -= len(self._ring.popleft().jpeg)
            if not self._ring:
                break
        if self._recording and self._until is not None and shot.pts > self._until:
            self._finish()
        if self._recording:
            self._recording.put(shot)

    def note(self, messages: Sequence[EventMessage]) -> None:
        """Begin and end recordings as events do."""
        for message in messages:
            if message.phase is EventPhase.STARTED:
                self._begin(message.event)
            elif message.phase is EventPhase.ENDED and message.event.id == self._event:
                assert message.event.end_pts is not None
                self._until = message.event.end_pts + self._after

    def close(self, timeout: float = 0.0) -> None:
        """End the recording here; waits for files at most ``timeout`` seconds, the rest goes on without."""
        self._finish()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _begin(self, event: Event) -> None:
        self._finish()
        shots = [shot for shot in self._ring if shot.pts >= event.start_pts - self._before]
        path = self._folder / (re.sub(r"[^A-Za-z0-9._-]", "_", event.id).lstrip(".") + ".avi")
        self._event, self._until = event.id, None
        self._recording = _Recording(path, self._fps, shots, lambda: self._done(event.id, path.name))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(self._recording.thread)

    def _finish(self) -> None:
        if self._recording:
            self._recording.finish()
        self._recording = self._event = self._until = None


class _Recording:
    """One file, written in a thread of its own."""

    def __init__(self, path: Path, fps: float, shots: list[Shot], done: Callable[[], None]) -> None:
        self._path = path
        self._fps = fps
        self._shots = shots
        self._done = done
        self._queue: queue.Queue[Shot | None] = queue.Queue(WAITING)
        self._given_up = False
        self.thread = threading.Thread(target=self._run, name=f"record {path.name}", daemon=True)
        self.thread.start()

    def put(self, shot: Shot | None) -> None:
        if self._given_up:
            return
        try:
            self._queue.put_nowait(shot)
        except queue.Full:
            self._given_up = True
            logger.warning("the recording %s is given up: the disk is too slow", self._path)
            self._make_room()
            self.put_end()

    def finish(self) -> None:
        if self._queue.full():
            self._make_room()
        self.put_end()

    def put_end(self) -> None:
        with suppress(queue.Full):  # cannot be: only the thread that calls this puts anything
            self._queue.put_nowait(None)

    def _make_room(self) -> None:
        with suppress(queue.Empty):
            self._queue.get_nowait()

    def _run(self) -> None:
        part = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                frames = self._write_all(file)
            if frames and not self._given_up:
                os.replace(part, self._path)
                self._done()
                return
        except (OSError, AviTooLongError, ValueError, cv2.error) as error:
            self._given_up = True
            logger.warning("the recording %s is given up: %s", self._path, error)
        with suppress(OSError):
            part.unlink(missing_ok=True)

    def _write_all(self, file: BinaryIO) -> int:
        timeline: _Timeline | None = None
        flushed = time.monotonic()
        while (shot := self._next()) is not None:
            if timeline is None:
                timeline = _Timeline(file, self._fps, shot)
            timeline.place(shot)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                timeline.writer.flush()
                flushed = time.monotonic()
        if timeline is None:
            return 0
        timeline.writer.close()
        return timeline.writer.frames

    def _next(self) -> Shot | None:
        if self._given_up:
            return None
        if self._shots:
            return self._shots.pop(0)
        return self._queue.get()


class _Timeline:
    """Puts pictures where their time wants them: the one before is repeated up to there.

    The file takes the size of the first picture; others are fitted into it.
    """

    def __init__(self, file: BinaryIO, fps: float, first: Shot) -> None:
        self._size = (first.width, first.height)
        self._fps = fps
        self._origin = first.pts
        self._last = first.jpeg
        self.writer = AviWriter(file, first.width, first.height, exact_rate(fps))

    def place(self, shot: Shot) -> None:
        jpeg = shot.jpeg if (shot.width, shot.height) == self._size else _fitted(shot.jpeg, *self._size)
        due = round((shot.pts - self._origin) * self._fps)
        longest = math.ceil(LONGEST_HOLE * self._fps)
        if due - self.writer.frames > longest:
            self._origin += (due - self.writer.frames - longest) / self._fps
            due = self.writer.frames + longest
        while self.writer.frames < due:
            self.writer.write(self._last)
        if self.writer.frames == due:
            self.writer.write(jpeg)
        self._last = jpeg


def encode_jpeg(image: cv2.typing.MatLike) -> bytes:
    """Raises ValueError for an image that JPEG has no room for."""
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise ValueError("the JPEG encoder refused a frame")
    return data.tobytes()


def _fitted(jpeg: bytes, width: int, height: int) -> bytes:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a picture cannot be decoded")
    return encode_jpeg(letterbox(np.asarray(image, np.uint8), width, height))
