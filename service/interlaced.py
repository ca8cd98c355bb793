"""Files of interlaced video, as camcorders, DVDs and broadcasters make it.

From 4.13 on OpenCV cannot convert a picture that is marked as interlaced, and returns whatever its buffer
held, without an error. Only files are read here: a stream cannot be opened twice to look into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import av
import cv2

from service.containers import pictures

_TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class InterlacedCapture:
    """What ``VideoSource`` asks of a ``cv2.VideoCapture``, both fields of a picture woven into one."""

    def __init__(
        self, capture: cv2.VideoCapture, path: Path, options: Mapping[str, str], threads: int
    ) -> None:
        """Takes an opened capture, which goes on to tell of the file as a whole."""
        self._capture = capture
        self._turn = _TURNS.get(int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360)
        self._container = av.open(str(path), options=dict(options))
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        self._pictures = pictures(self._container, stream)
        self._position = 0.0

    def read(self) -> tuple[bool, Any]:
        """The next picture; what cannot be decoded is passed over."""
        picture = next(self._pictures, None)
        if picture is None:
            return False, None
        self._position = 1000 * picture.time if picture.time is not None else float("nan")
        image = picture.to_ndarray(format="bgr24")
        return True, image if self._turn is None else cv2.rotate(image, self._turn)

    def get(self, property_id: int) -> float:
        return self._position if property_id == cv2.CAP_PROP_POS_MSEC else self._capture.get(property_id)

    def release(self) -> None:
        self._container.close()
        self._capture.release()
