"""Opens by OpenCV's FFmpeg, with options that other threads do not share."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# FFmpeg's own complaints go to stderr unless this is set before OpenCV first opens something.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

from service.errors import SourceError

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# Containers that hold their own video. What is missing is the point: concat, hls, dash, sdp and their kind
# name other files and addresses, whatever the name of the file that they hide in.
CONTAINERS: Final = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,kux,asf,asf_o,ogg,mxf,nut,rm,wtv,dv,gxf,"
    "nsv,ivf,obu,av1,h264,hevc,vvc,vc1,gif,apng,mjpeg,mjpeg_2000,mpjpeg,yuv4mpegpipe,swf,cavsvideo,dnxhd,"
    "webp_pipe"
)

_KNOWS_MAX_REDIRECTS: Final = (62, 12)
"""The libavformat of OpenCV 5.0; 62.3 of OpenCV 4.13 does not."""

_opening = threading.Lock()  # FFmpeg's options travel in the environment, which all threads share.


@dataclass(frozen=True, slots=True)
class Opening:
    """How FFmpeg is to open ``target``, which goes by ``name`` in messages.

    ``options`` are FFmpeg's. Timeouts are in seconds; a ``read_timeout`` of 0 never gives up. ``threads``
    decode.
    """

    target: str
    name: str
    options: Mapping[str, str]
    open_timeout: float
    read_timeout: float
    threads: int


def open_capture(opening: Opening, accelerated: bool = False) -> cv2.VideoCapture:
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, max(1, int(opening.open_timeout * 1000))),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(opening.read_timeout * 1000)),
        *(cv2.CAP_PROP_N_THREADS, opening.threads),
    ]
    if accelerated:
        parameters += [cv2.CAP_PROP_HW_ACCELERATION, cv2.VIDEO_ACCELERATION_ANY]
    variable = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    with _opening:
        before = os.environ.get(variable)
        os.environ[variable] = "|".join(f"{key};{value}" for key, value in opening.options.items())
        try:
            return cv2.VideoCapture(opening.target, cv2.CAP_FFMPEG, parameters)
        except cv2.error as error:
            raise SourceError(f"{opening.name}: cannot be opened ({error.err or error})") from error
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before


def headers(capture: cv2.VideoCapture) -> bytes:
    """The headers of a stream as FFmpeg keeps them, without reading from it."""
    _, data = capture.retrieve(None, int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
    return b"" if data is None else data.tobytes()


def can_forbid_redirects() -> bool:
    """Whether OpenCV's FFmpeg knows ``max_redirects``; an older one passes over it without a word."""
    version = re.search(r"avformat:\s+YES \((\d+)\.(\d+)", cv2.getBuildInformation())
    return version is not None and (int(version[1]), int(version[2])) >= _KNOWS_MAX_REDIRECTS
