"""Opens cameras, by number or by device file."""

from __future__ import annotations

import cv2

from service.errors import SourceNotFoundError
from service.sources.video import VideoSource, first_frame


def open_camera(device: int | str, name: str, read_timeout: float) -> VideoSource:
    """``device`` is a number or the path of a device file. Raises SourceError."""
    missing = SourceNotFoundError(f"{name}: there is no such camera, or another program uses it")
    if isinstance(device, int) and device > 255:
        raise missing
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2) if isinstance(device, str) else cv2.VideoCapture(device)
    if not capture.isOpened():
        raise missing
    return first_frame(capture, name, False, read_timeout)
