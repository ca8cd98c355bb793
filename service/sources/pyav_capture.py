"""Reads by PyAV what OpenCV cannot: interlaced video, and AV1.

From 4.13 on OpenCV cannot convert a picture that is marked as interlaced, as those of camcorders, discs,
broadcasters and older cameras are, and returns whatever its buffer held, without an error. For AV1 its wheels
have no decoder.
"""

from __future__ import annotations

from typing import Any, Final

import av
import cv2

from service.errors import SourceError
from service.sources.containers import film_of, pictures
from service.sources.deinterlacing import deinterlaced
from service.sources.ffmpeg import Opening
from service.sources.video import turn_of

_TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class PyAvCapture:
    """What ``VideoSource`` asks of a ``cv2.VideoCapture``; interlaced pictures are made whole."""

    def __init__(self, capture: cv2.VideoCapture, opening: Opening) -> None:
        """Open the video anew, and keep what ``capture``, which is released, knows of it as a whole.

        Raises SourceError.
        """
        asked = (
            cv2.CAP_PROP_FPS,
            cv2.CAP_PROP_FRAME_COUNT,
            cv2.CAP_PROP_FOURCC,
            cv2.CAP_PROP_ORIENTATION_META,
            cv2.CAP_PROP_SAR_NUM,
            cv2.CAP_PROP_SAR_DEN,
        )
        self._known = {property_id: capture.get(property_id) for property_id in asked}
        self._turn = _TURNS.get(turn_of(capture))
        capture.release()  # first: some cameras talk to one at a time
        timeouts = opening.open_timeout, opening.read_timeout or None
        try:
            self._container = av.open(opening.target, options=dict(opening.options), timeout=timeouts)
        except av.FFmpegError as error:
            raise SourceError(f"{opening.name}: cannot be opened once more ({error.strerror})") from error
        if (stream := film_of(self._container)) is None:
            self._container.close()
            raise SourceError(f"{opening.name}: there was video, and there is none any more")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = opening.threads
        self._pictures = deinterlaced(pictures(self._container, stream))
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
        return self._position if property_id == cv2.CAP_PROP_POS_MSEC else self._known.get(property_id, 0.0)

    def release(self) -> None:
        self._container.close()
