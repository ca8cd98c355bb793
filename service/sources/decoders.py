"""Which decoder reads a video: a graphics device, the processor, at a fraction of its size, or PyAV."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2

from service.config import HardwareDecode
from service.errors import NoFramesError, SourceError, SourceTimeoutError
from service.sources.ffmpeg import Opening
from service.sources.motion_jpeg import ReducedCapture, reduced
from service.sources.video import Capture, VideoSource

_GRAPHICS: Final = Path("/dev/dri")


def decoded(
    open_capture: Callable[[bool], cv2.VideoCapture],
    weave: Callable[[cv2.VideoCapture], Capture | None],
    start: Callable[[Capture], VideoSource],
    hardware: HardwareDecode,
    enough: tuple[int, int] | None,
) -> VideoSource:
    """Open with a graphics device if there is one; should it then not decode, without.

    ``weave`` gives what takes the place of a capture whose pictures are interlaced.
    """
    accelerates = hardware is HardwareDecode.AUTO and has_graphics()
    capture = open_capture(accelerates)
    if woven := weave(capture):
        return start(woven)
    if enough is not None and (small := reduced(capture, enough)):
        if source := _at_size(small, start):
            return source
        capture = open_capture(accelerates)
    if not accelerates:
        return start(capture)
    # Where OpenCV finds no device that knows the codec, it has chosen the processor already.
    accelerated = capture.get(cv2.CAP_PROP_HW_ACCELERATION) > cv2.VIDEO_ACCELERATION_NONE
    try:
        return start(capture)
    except SourceTimeoutError:
        raise
    except SourceError:
        if not accelerated:
            raise
    return start(open_capture(False))


def by_pyav(capture: cv2.VideoCapture, opening: Opening) -> Capture:
    from service.sources.pyav_capture import PyAvCapture  # 20 MB that few streams need

    return PyAvCapture(capture, opening)


def has_graphics() -> bool:
    """Whether this process may use a graphics device."""
    return any(os.access(device, os.R_OK | os.W_OK) for device in _GRAPHICS.glob("renderD*"))


def _at_size(capture: ReducedCapture, start: Callable[[Capture], VideoSource]) -> VideoSource | None:
    """None if these are not the pictures: not JPEG at all, or of every second line."""
    try:
        source = start(capture)
    except NoFramesError:
        return None
    if (source.properties.height, source.properties.width) == capture.size:
        return source
    source.close()
    return None
