"""Opens RTSP and HTTP addresses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

import cv2

from service.addresses import connections
from service.config import HardwareDecode
from service.errors import AddressRefusedError, SourceError, SourceTimeoutError
from service.sources.decoders import by_pyav, decoded
from service.sources.ffmpeg import CONTAINERS, Opening, can_forbid_redirects, headers, open_capture
from service.sources.probing import reason_of_address
from service.sources.scan import announces_interlaced
from service.sources.video import Capture, VideoSource, first_frame

# To look at the first 5 s of a stream, as FFmpeg would, delays every return of a camera by seconds.
_RTSP_OPTIONS: Final = {
    "rtsp_transport": "tcp",
    "analyzeduration": "500000",
    "probesize": "200000",
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
}
_HTTP_OPTIONS: Final = {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto"}
_PINNED_OPTIONS: Final = {"max_redirects": "0", "format_whitelist": CONTAINERS}
_THREADS: Final = 1
"""Each further one delays a live picture by a frame (measured at 12 frames per second: 0.15 s with one,
0.73 s with eight), and many streams share few cores."""

AnyCapture = TypeVar("AnyCapture", bound=Capture)


def open_address(
    address: str,
    scheme: str,
    name: str,
    open_timeout: float,
    read_timeout: float,
    host: str | None,
    hardware: HardwareDecode,
    enough: tuple[int, int] | None,
) -> VideoSource:
    """As ``open_source`` does, of whose arguments these are. Raises SourceError."""
    options = _RTSP_OPTIONS if scheme.startswith("rtsp") else _HTTP_OPTIONS
    if host is not None:
        if not re.fullmatch(r"[0-9A-Za-z.:_\[\]-]+", host):  # it goes among the options
            raise SourceError(f"{name}: {host!r} cannot be a Host header; give a host name and a port")
        if options is _HTTP_OPTIONS:
            if not can_forbid_redirects():
                raise SourceError(
                    f"{name}: this OpenCV follows redirects to anywhere, so no HTTP address that a client "
                    "names is opened; install opencv-python-headless 5.0 or newer"
                )
            options = options | _PINNED_OPTIONS | {"headers": f"Host: {host}"}
    opening = Opening(address, name, options, open_timeout, read_timeout, _THREADS)

    def stayed(opened: Callable[[], AnyCapture]) -> AnyCapture:
        """What was opened, if it is where it should be."""
        before = connections()
        capture = opened()
        # FFmpeg cannot be kept from following redirects of RTSP. To ask for one first does not help: who
        # wants to redirects FFmpeg alone, and some servers refuse whoever comes right after another.
        if host is not None and any(ip != urlsplit(address).hostname for _, ip in connections() - before):
            capture.release()
            raise AddressRefusedError(
                f"{name}: the server redirects to another host; give the address at which the video is"
            )
        return capture

    def connect(accelerated: bool) -> cv2.VideoCapture:
        began = time.monotonic()
        capture = stayed(lambda: open_capture(opening, accelerated))
        if not capture.isOpened():
            if time.monotonic() - began > 0.95 * open_timeout:
                raise SourceTimeoutError(f"{name}: no video within {open_timeout:g} s; is the address right?")
            raise reason_of_address(address, name, min(open_timeout, 5.0))
        return capture

    def weave(capture: cv2.VideoCapture) -> Capture | None:
        return stayed(lambda: by_pyav(capture, opening)) if announces_interlaced(headers(capture)) else None

    start = partial(first_frame, name=name, is_network=True, read_timeout=read_timeout)
    return decoded(connect, weave, start, hardware, enough)
