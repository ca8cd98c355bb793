"""Annotated video as a Motion JPEG AVI file: one frame out for every frame in, at the time of the source.

Where a source drops frames (holes in their index), or their times stray from its rate, pictures are repeated
or left out, so that an event is where the list of events says: see ``Timeline``.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np

from service.annotate import Annotator
from service.errors import SinkError
from service.lock import alone
from service.sinks import Step
from service.sinks.avi import AviTooLongError, count_frames
from service.sinks.timeline import Timeline
from service.types import SQUARE, EventMessage, Image

DEFAULT_QUALITY: Final = 90
MAX_SIDE: Final = 65500
"""The longest side that the JPEG library takes."""
FLUSH_SECONDS: Final = 2.0
"""How much at most is missing from a file whose writer was killed."""
SLACK: Final = 0.2
"""Seconds that the video and the source may be apart before pictures are repeated or left out."""
SPARE_BYTES: Final = 1 << 18
"""Given up of a file that found no more room, for the lists of events."""
JOIN_SECONDS: Final = 30.0


class MjpgFile:
    """Encodes and writes in a thread of its own, behind a queue of ``depth`` frames.

    ``write`` waits while the queue is full. The video grows under ``<name>.part``
    beside its final name and is renamed by ``close``, so that a file with the final name is always
    whole; a process that was killed leaves a ``.part`` file that plays. The file takes the size of the
    first frame; frames of another size are fitted into it between black borders.

    ``fps`` is frames per second, ``pixel_aspect`` how wide a pixel is to be shown for its height, ``quality``
    that of JPEG (1..100). With an ``annotator`` frames are drawn
    on, in place, before they are encoded. Raises ``SinkError`` when the file
    cannot be written, from the next call after the failure. ``is_kept`` says, after ``close``, whether
    there is a video.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        pixel_aspect: Fraction = SQUARE,
        annotator: Annotator | None = None,
        quality: int = DEFAULT_QUALITY,
        depth: int = 8,
    ) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._rate = exact_rate(fps)
        self._pixel_aspect = pixel_aspect
        self._annotator = annotator
        self._quality = quality
        self._queue: queue.Queue[Step | None] = queue.Queue(depth)
        self._failure: Exception | None = None
        self._stopping = False
        self._timeline: Timeline | None = None
        self.is_kept = False
        self._lock = ExitStack()
        try:
            self._lock.enter_context(alone(self._part, SinkError(f"another run writes {path} at this time")))
            self._file: BinaryIO = self._part.open("wb")
        except OSError as error:
            raise self._error(error) from error
        self._thread = threading.Thread(target=self._run, name=f"encode {path.name}", daemon=True)
        self._thread.start()

    def write(self, step: Step) -> None:
        self._put(step)

    def close(self, last: tuple[EventMessage, ...] = ()) -> None:
        """Finish the file and give it its name; a file without any frame is not kept.

        After a failure to write, this is done with what was written until then, and the failure raised.
        """
        if self._file.closed:
            return
        self._tell_end()
        self._thread.join(JOIN_SECONDS)
        slow = None
        if self._thread.is_alive():
            self._stopping = True
            self._thread.join(JOIN_SECONDS)
            slow = f"writing {self.path} did not come to an end within {JOIN_SECONDS:g} s"
            if self._thread.is_alive():
                raise SinkError(f"{slow}; what was written is in {self._part}")
        if self._failure is not None and not isinstance(self._failure, SinkError):
            self.abort()
            raise self._failure
        self._keep()
        if self._failure is not None:
            raise self._failure
        if slow:
            raise SinkError(slow)

    def abort(self) -> None:
        self._stopping = True
        while self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                self._drain()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)
        with suppress(OSError):  # of a full disk, once more when the buffer is flushed
            self._file.close()
        with self._lock:
            self._part.unlink(missing_ok=True)

    def _put(self, step: Step) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                self._queue.put(step, timeout=0.2)
                return
            except queue.Full:
                continue  # look for a failure of the thread, then wait on

    def _tell_end(self) -> None:
        deadline = time.monotonic() + JOIN_SECONDS
        while self._thread.is_alive() and time.monotonic() < deadline:
            with suppress(queue.Full):
                self._queue.put(None, timeout=0.2)
                return

    def _keep(self) -> None:
        """Give the file its name if it has a frame; after a failure finish it first, as far as it goes."""
        with self._lock:
            try:
                self._file.close()
            except OSError as error:  # of a full disk, once more when the buffer is flushed
                self._failure = self._failure or self._error(error)
            if self._failure is not None and self._timeline is not None:
                with suppress(OSError), self._part.open("r+b") as file:  # else it ends with the last flush
                    self._timeline.writer.salvage(file, SPARE_BYTES)
            try:
                if count_frames(self._part):
                    os.replace(self._part, self.path)
                    self.is_kept = True
                else:
                    self._part.unlink()
            except OSError as error:
                raise self._error(error) from error

    def _drain(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _run(self) -> None:
        try:
            self._encode_all()
        except AviTooLongError as error:
            self._failure = SinkError(f"{self.path} is full: {error}; split the source or use --no-video")
        except (OSError, cv2.error, ValueError) as error:
            self._failure = self._error(error)
        except Exception as error:  # a fault of ours, carried over to the thread that writes
            self._failure = error

    def _encode_all(self) -> None:
        width = height = 0
        expected = 0
        flushed = time.monotonic()
        while (step := self._queue.get()) is not None and not self._stopping:
            frame = step.frame
            image = frame.image
            if self._annotator:
                self._annotator.draw(image, step.smoothed, step.event)
            if self._timeline is None:
                height, width = image.shape[:2]
                if max(width, height) > MAX_SIDE:
                    raise ValueError(f"frames of {width}×{height} pixels are too large for JPEG")
                self._timeline = Timeline(
                    self._file, width, height, self._rate, pixel_aspect=self._pixel_aspect, slack=SLACK
                )
            elif image.shape[:2] != (height, width):
                image = letterbox(image, width, height)
            dropped = max(0, frame.index - expected)
            self._timeline.place(encode_jpeg(image, self._quality), frame.pts, dropped)
            expected = frame.index + 1
            if time.monotonic() - flushed > FLUSH_SECONDS:
                self._timeline.writer.flush()
                flushed = time.monotonic()
        if self._timeline is not None:
            self._timeline.writer.close()

    def _error(self, error: Exception) -> SinkError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return SinkError(f"cannot write {self.path}: {reason}")


def encode_jpeg(image: Image, quality: int = DEFAULT_QUALITY) -> bytes:
    """JPEG of an H×W×3 image; raises ValueError or cv2.error for one that JPEG has no room for."""
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError("the JPEG encoder refused a frame")
    return data.tobytes()


def exact_rate(fps: float) -> Fraction:
    """The frame rate as a fraction: 29.97002997 is 30000/1001.

    >>> exact_rate(29.97002997), exact_rate(25)
    (Fraction(30000, 1001), Fraction(25, 1))
    """
    rate = Fraction(fps).limit_denominator(1001)
    return rate if rate > 0 else Fraction(fps).limit_denominator(1_000_000)


def letterbox(image: Image, width: int, height: int) -> Image:
    """Fit an image of any size into ``height`` × ``width`` × 3, keeping its shape, borders black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width = max(1, round(image.shape[1] * scale))
    inner_height = max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    resized = cv2.resize(image, (inner_width, inner_height), interpolation=method)
    canvas[top : top + inner_height, left : left + inner_width] = resized
    return canvas
