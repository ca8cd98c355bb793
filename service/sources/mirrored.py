"""Pictures that a file says to show mirrored, as of a telephone's front camera: OpenCV only turns them."""

from __future__ import annotations

from typing import Any

import cv2

from service.sources.video import Capture, turn_of


class MirroredCapture:
    """What ``VideoSource`` asks of a ``cv2.VideoCapture``, each picture mirrored after it was turned.

    The turn has brought the rows of the stored picture where they belong; what is left lies across them.
    """

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._axis = 1 if turn_of(capture) in (90, 270) else 0

    def read(self) -> tuple[bool, Any]:
        found, image = self._capture.read()
        return found, cv2.flip(image, self._axis) if found else image

    def get(self, property_id: int) -> float:
        return self._capture.get(property_id)

    def release(self) -> None:
        self._capture.release()
