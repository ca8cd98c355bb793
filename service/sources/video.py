"""Decodes an opened capture: frames with a time that never runs backwards, and how it all ended."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Protocol, Self

import cv2
import numpy as np

from service.errors import NoFramesError, SourceError, SourceTimeoutError
from service.types import SQUARE, Frame, Image, SourceProperties

FALLBACK_FPS = 25.0
"""Frames per second where a container states none or an absurd one, and its times tell none either."""

_ABSURD_FPS = 1000.0
"""From here on: 1000 is the clock of Matroska and Flash, which stands in where a file states no rate."""
_DOUBTFUL_FPS = 1.0
"""Below it may be a mean over a clock that jumps by hours."""
_MEASURED_FRAMES = 9
_MEASURED_BYTES = 64 << 20
"""Read ahead at most, to measure a rate that is not stated, or doubtful; two frames at least."""

_LONGEST_DAMAGE = 1000
"""Pictures in a row of a file that may fail to decode; after more of them nothing is thought to follow."""

_FLATTEST = 10.0  # Times; a pixel that is said to be flatter, or as much taller, is an error.
_LONGEST_STEP = 60.0  # Seconds; a longer gap between two frames is a broken clock, not a still picture.
_LONGEST_SOURCE = 30 * 86400.0
_LARGEST_REORDERING = 1.0  # Seconds; a step further back is a clock that began again.


class Capture(Protocol):
    """``cv2.VideoCapture``, or what stands in for it where it cannot decode, or not as well."""

    def read(self) -> tuple[bool, Any]: ...
    def get(self, property_id: int, /) -> float: ...
    def release(self) -> None: ...


class VideoSource:
    """Frames out of an opened ``Capture``; meets the Protocol ``Source``.

    ``pts`` of a file is the container's time where that rises, and frame rate elsewhere; the first frame
    is at 0 (an offset or an empty edit at the start is subtracted). ``pts`` of a live source is the time
    of arrival since its first frame, because streams such as MJPEG over HTTP carry no usable clock.
    """

    def __init__(
        self,
        capture: Capture,
        name: str,
        is_network: bool,
        read_timeout: float,
        is_whole: Callable[[int], bool] | None = None,
        begins: float = 0.0,
    ) -> None:
        """Decode the first frame.

        ``read_timeout`` in seconds; 0 never gives up, as for a file. ``is_whole``, if given, is asked where
        there were fewer frames than announced whether that many can be all. ``begins`` is how many seconds
        of what is announced lie before the first frame.
        """
        self._capture = capture
        self._name = name
        self._read_timeout = read_timeout
        self._is_whole = is_whole
        self._reading = threading.Lock()
        self._closed = False
        self._ended = False
        self._is_short = False
        self.frames_read = 0
        self._decoded = 0
        self._undecodable = 0
        self._pts = 0.0
        self._origin = 0.0
        stated = capture.get(cv2.CAP_PROP_FPS)
        fps = stated if math.isfinite(stated) and 0 < stated < _ABSURD_FPS else FALLBACK_FPS
        claim = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        counted_at = stated if stated >= _ABSURD_FPS else fps  # a count may be the duration times that
        sane = math.isfinite(claim) and 1 <= claim <= _LONGEST_SOURCE * counted_at
        # A server that states a length sends a file.
        is_live = read_timeout > 0 and not (sane and is_network and not name.lower().startswith("rtsp"))
        self._step = 1 / fps
        self._is_live = is_live
        self._started_at = 0.0
        first = self._decode()
        if first is None:
            raise NoFramesError(
                f"{name}: it opens, but not one frame of its video (codec {_codec(capture)}) can be decoded; "
                "convert it to H.264 or VP9, or check that it is complete"
            )
        self._ahead = deque([first])
        if (fps != stated or fps < _DOUBTFUL_FPS) and not is_live:
            fps = self._measure(first, fps)
            self._step = 1 / fps
        count = None
        if sane and not is_live:
            count = max(1, round(claim * fps / counted_at)) if stated >= _ABSURD_FPS else int(claim)
            before = max(0, round(begins * fps))
            count -= before if before < count else 0
        height, width = first.image.shape[:2]
        self.properties = SourceProperties(width, height, fps, count, is_live, _pixel_aspect(capture))

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. Raises SourceError and SourceTimeoutError."""
        frame = self._ahead.popleft() if self._ahead else self._decode()
        if frame is not None:
            self.frames_read = frame.index + 1
        elif not self._ended:
            self._is_short = self._falls_short() and not (self._is_whole and self._is_whole(self.frames_read))
            self._ended = True
        return frame

    @property
    def ended_early(self) -> bool:
        """Whether it ended well before the end that the container announces; live, whether it ended."""
        return self._ended and (self._is_live or self._is_short)

    @property
    def ending(self) -> str | None:
        """Say how it ended early, or None."""
        if not self.ended_early:
            return None
        if self._is_live:
            return f"{self._name}: the stream stopped after {self.frames_read} frames"
        return (
            f"{self._name}: only {self.frames_read} of {self.properties.frame_count} frames decode; "
            "it is damaged or incomplete"
        )

    def _falls_short(self) -> bool:
        """Whether both frames and time are short by more than a tenth and by more than half a second.

        Or so many pictures on the way could not be decoded. Containers round, count frames that an edit list
        hides, and guess counts from a duration; neither figure alone is evidence.
        """
        claim = self.properties.frame_count
        if claim is None:
            return False
        missing = min(claim - self.frames_read, claim - (self._pts / self._step + 1))
        return max(missing, self._undecodable) > max(0.1 * claim, 0.5 / self._step)

    def close(self) -> None:
        """Release the capture; waits for a read in progress, as releasing under it would crash."""
        with self._reading:
            self._closed = True
            self._ahead.clear()
            self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _measure(self, first: Frame, otherwise: float) -> float:
        """Frames per second by the times of the first frames, pauses among them left out, if they tell it."""
        most = min(_MEASURED_FRAMES, max(2, _MEASURED_BYTES // first.image.nbytes))
        with suppress(SourceError):  # comes again when it is the turn of that frame
            while len(self._ahead) < most and (frame := self._decode()) is not None:
                self._ahead.append(frame)
        steps = [later.pts - earlier.pts for earlier, later in pairwise(self._ahead)]
        if not steps:
            return otherwise
        typical = median(steps)
        fps = 1 / fmean(step for step in steps if step <= 2 * typical)
        return fps if round(fps) <= _ABSURD_FPS else otherwise

    def _decode(self) -> Frame | None:
        with self._reading:
            if self._closed:
                raise SourceError(f"{self._name}: read after close")
            if self._ended:
                return None
            began = time.monotonic()
            try:
                found, image = self._grab()
                position = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            except cv2.error as error:
                raise SourceError(f"{self._name}: decoding failed ({error.err or error})") from error
        now = time.monotonic()
        # On a server that hangs, the first reads after the timeout still succeed: the decoder's leftovers.
        if self._read_timeout and now - began > 0.95 * self._read_timeout:
            raise SourceTimeoutError(f"{self._name}: no new frame within {self._read_timeout:g} s")
        if not found or image is None or image.size == 0:
            return None
        index = self._decoded
        self._decoded += 1
        self._pts = self._time(index, position, now)
        return Frame(self._name, index, self._pts, now, as_bgr(image))

    def _grab(self) -> tuple[bool, Any]:
        """The next picture. Of a file, the next that can be decoded: OpenCV tells damage and end alike."""
        failed, most = 0, 0 if self._read_timeout else _LONGEST_DAMAGE
        while not (result := self._capture.read())[0] and failed < most:
            failed += 1
        if result[0]:
            self._undecodable += failed
        return result

    def _time(self, index: int, position: float, now: float) -> float:
        if index == 0:
            self._origin = position if math.isfinite(position) else 0.0
            self._started_at = now
            return 0.0
        if self._is_live:
            return max(self._pts, now - self._started_at)
        nominal = self._pts + self._step
        step = position - self._origin - self._pts if math.isfinite(position) else 0.0
        if 0 < step <= _LONGEST_STEP:
            return self._pts + step
        if math.isfinite(position) and not -_LARGEST_REORDERING < step <= 0:
            self._origin = position - nominal
        return nominal


def first_frame(
    capture: Capture,
    name: str,
    is_network: bool,
    read_timeout: float,
    is_whole: Callable[[int], bool] | None = None,
    begins: float = 0.0,
) -> VideoSource:
    """The ``VideoSource`` of these arguments; where there is none, ``capture`` is released."""
    try:
        return VideoSource(capture, name, is_network, read_timeout, is_whole, begins)
    except BaseException:
        capture.release()
        raise


def turn_of(capture: Capture) -> int:
    """By how many degrees clockwise ``capture`` turns its pictures: 0 to 359."""
    return int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360


def _pixel_aspect(capture: Capture) -> Fraction:
    """How wide for their height pixels are to be shown, once turned: those of DVDs, of DV, of broadcasts."""
    width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    if not (width > 0 and height > 0 and 1 / _FLATTEST <= width / height <= _FLATTEST):
        return SQUARE
    return Fraction(height, width) if turn_of(capture) in (90, 270) else Fraction(width, height)


def _codec(capture: Capture) -> str:
    letters = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    return letters.decode("ascii", errors="replace").strip("\0 ") or "unknown"


def as_bgr(image: Any) -> Image:
    """Return a decoded image (grey, BGR or BGRA; 8 or 16 bits) as H×W×3 ``uint8`` in BGR."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = np.clip(image, 0, 255).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    result: Image = image
    return result
