"""Motion JPEG at a fraction of its size, where no larger picture is needed: a JPEG's coefficients give it
pictures of a half, a quarter or an eighth for less work than the whole (``IMREAD_REDUCED_COLOR_2``…)."""

from __future__ import annotations

import math
from typing import Any

import cv2

from models.preprocessing import halvings

_FLAGS = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_MOTION_JPEG = cv2.VideoWriter.fourcc(*"MJPG")


class ReducedCapture:
    """What ``VideoSource`` asks of a ``cv2.VideoCapture``, with pictures of 1/``factor`` of each side."""

    def __init__(self, capture: cv2.VideoCapture, factor: int) -> None:
        """Takes a capture of which nothing was read yet. ``size`` is the (height, width) of its pictures."""
        sides = capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH)
        self.size = tuple(math.ceil(side / factor) for side in sides)
        self._capture = capture
        self._flags = _FLAGS[factor] | cv2.IMREAD_IGNORE_ORIENTATION

    def read(self) -> tuple[bool, Any]:
        """The next picture; what cannot be decoded at all is passed over."""
        while True:
            found, data = self._capture.read()
            if not found:
                return False, None
            image = cv2.imdecode(data, self._flags)
            if image is not None:
                return True, image

    def get(self, property_id: int) -> float:
        return self._capture.get(property_id)

    def release(self) -> None:
        self._capture.release()


def reduced(capture: cv2.VideoCapture, enough: tuple[int, int]) -> ReducedCapture | None:
    """``capture`` with pictures that are as large as a resize to ``enough``, (height, width), needs them.

    None, and ``capture`` as it was, if it is no Motion JPEG, is to be turned or is not so large.
    """
    if int(capture.get(cv2.CAP_PROP_FOURCC)) != _MOTION_JPEG or capture.get(cv2.CAP_PROP_ORIENTATION_META):
        return None
    height, width = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
    factor = min(8, 2 ** halvings(height, width, *enough))
    if factor == 1 or not capture.set(cv2.CAP_PROP_FORMAT, -1):  # -1: packets as they are
        return None
    return ReducedCapture(capture, factor)
