"""Opens what a person can name as video: files, image sequences, RTSP and HTTP addresses, cameras.

``open_source`` decodes the first frame before it returns, so that whatever cannot be read fails there and
then, with a typed error of ``service.errors`` that says what to do.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar
from urllib.parse import unquote, urlsplit

# FFmpeg's own complaints go to stderr unless this is set before OpenCV first opens something.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

from service.addresses import connections
from service.config import HardwareDecode
from service.errors import (
    AddressRefusedError,
    NoFramesError,
    NotAVideoError,
    SourceError,
    SourceNotFoundError,
    SourceTimeoutError,
)
from service.images import ImageSequence, find_images
from service.motion_jpeg import ReducedCapture, reduced
from service.probing import reason_of_address, reason_of_file, refusal_of_file, sound_alone
from service.scan import announces_interlaced
from service.types import Frame, SourceProperties
from service.video import FALLBACK_FPS, Capture, Opening, VideoSource

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# Containers that hold their own video. What is missing is the point: concat, hls, dash, sdp and their kind
# name other files and addresses, whatever the name of the file that they hide in.
_CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,kux,asf,asf_o,ogg,mxf,nut,rm,wtv,dv,gxf,"
    "nsv,ivf,obu,av1,h264,hevc,vvc,vc1,gif,apng,mjpeg,mjpeg_2000,mpjpeg,yuv4mpegpipe,swf,cavsvideo,dnxhd,"
    "webp_pipe"
)
_FILE_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
# To look at the first 5 s of a stream, as FFmpeg would, delays every return of a camera by seconds.
_RTSP_OPTIONS = {
    "rtsp_transport": "tcp",
    "analyzeduration": "500000",
    "probesize": "200000",
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
}
_HTTP_OPTIONS = {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto"}
_PINNED_OPTIONS = {"max_redirects": "0", "format_whitelist": _CONTAINERS}

_KNOWS_MAX_REDIRECTS = (62, 12)
"""The libavformat of OpenCV 5.0; 62.3 of OpenCV 4.13 does not."""

_FILE_THREADS = 4
"""Most threads that decode a file: enough to outrun any network, with few frames in memory."""
_LIVE_THREADS = 1
"""Each further one delays a live picture by a frame (measured at 12 frames per second: 0.15 s with one,
0.73 s with eight), and many streams share few cores."""
_GRAPHICS = Path("/dev/dri")

AnyCapture = TypeVar("AnyCapture", bound=Capture)

_opening = threading.Lock()  # FFmpeg's options travel in the environment, which all threads share.


class Source(Protocol):
    """Frames one after another; a context manager that closes.

    After ``read`` has returned ``None``, ``ended_early`` says whether there should have been more, and
    ``ending`` says it in a sentence for a person (``None`` when all is well).
    """

    @property
    def properties(self) -> SourceProperties: ...
    @property
    def frames_read(self) -> int: ...
    @property
    def ended_early(self) -> bool: ...
    @property
    def ending(self) -> str | None: ...
    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. Raises SourceError."""
        ...

    def close(self) -> None:
        """Release the source; waits for a read in progress. May be called twice."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def open_source(
    source: str | int,
    *,
    open_timeout: float = 10.0,
    read_timeout: float = 10.0,
    allow_network: bool = True,
    source_id: str | None = None,
    host: str | None = None,
    hardware: HardwareDecode = HardwareDecode.OFF,
    enough: tuple[int, int] | None = None,
) -> Source:
    """Open a file, a directory or pattern of images, an address or a device number.

    A path that exists is taken literally, whatever signs are in it. Then come ``rtsp``, ``rtsps``,
    ``http``, ``https`` and ``file`` addresses, device numbers (``0``) and patterns (``frames/%04d.jpg``).
    Timeouts are in seconds. ``source_id`` names the frames' source; default is the redacted ``source``.
    ``host`` is the ``Host`` header for an address whose host ``service.addresses`` has pinned; over HTTP
    nothing may then lead elsewhere, so redirects and playlists fail, and over RTSP no frame comes from
    elsewhere. ``hardware`` is for files and addresses, and so is ``enough``: the (height, width) to which all
    frames will be resized, for which Motion JPEG need not be decoded at its full size.

    Raises SourceNotFoundError, NotAVideoError, NoFramesError, SourceTimeoutError,
    SourceAuthenticationError, AddressRefusedError for what leads elsewhere, or SourceError for anything else.
    """
    text = str(source)
    name = source_id or redact(text)
    _check_letters(text, name)
    path = Path(text)
    if text and isinstance(source, str) and exists(path):
        return _open_path(path, name, open_timeout, hardware, enough)
    if not text or any(ord(letter) < 32 for letter in text):
        raise SourceNotFoundError(f"{name!r}: not the name of a source; give a file, an address or a device")
    scheme = text.partition("://")[0].lower() if "://" in text else None
    if scheme in ("rtsp", "rtsps", "http", "https"):
        if not allow_network:
            raise SourceError(f"{name}: network addresses are not allowed here; give a file")
        return _open_address(text, scheme, name, open_timeout, read_timeout, host, hardware, enough)
    if scheme == "file":
        return _open_path(Path(unquote(urlsplit(text).path)), name, open_timeout, hardware, enough)
    if scheme is not None:
        raise SourceError(f"{name}: addresses of this kind cannot be opened; use rtsp, rtsps, http or https")
    if text.isascii() and text.isdigit():
        return _open_device(int(text), name, open_timeout, read_timeout)
    try:
        images = find_images(path)
    except OSError as error:
        raise SourceNotFoundError(f"{name}: cannot be found ({error.strerror}); check the path") from error
    if images:
        return ImageSequence(images, name, FALLBACK_FPS)
    raise SourceNotFoundError(f"{name}: there is no such file or directory; check the path")


def redact(source: str) -> str:
    """Return ``source`` without credentials: for messages, logs and file names."""
    if "://" not in source:
        return source
    scheme, _, rest = source.partition("://")
    rest = re.sub(r"^[^/?#]*@", "***@", rest)
    # A password with a slash in it: what looks like a port is not a number, and an @ follows later.
    rest = re.sub(r"^(?!\*\*\*@)[^/?#@]*:(?!\d*(?:[/?#]|$)).*@", "***@", rest)
    rest = re.sub(r"\?.*", "?***", rest, flags=re.DOTALL)
    return f"{scheme}://{rest}"


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; no address is too long to be asked about."""
    try:
        return path.exists()
    except OSError:
        return False


def _check_letters(text: str, name: str) -> None:
    """Raise SourceError for a name that is not UTF-8: OpenCV would end the process."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{name!r}: a name that is not UTF-8 cannot be opened; rename it") from error


def _open_path(
    path: Path, name: str, timeout: float, hardware: HardwareDecode, enough: tuple[int, int] | None
) -> Source:
    try:
        mode = path.stat().st_mode
        images = find_images(path)
    except OSError as error:
        raise SourceNotFoundError(f"{name}: cannot be found ({error.strerror}); check the path") from error
    if stat.S_ISCHR(mode):
        return _open_device(str(path), name, timeout, timeout)
    if images:
        return ImageSequence(images, name, FALLBACK_FPS)
    if stat.S_ISDIR(mode):
        raise NotAVideoError(f"{name}: a directory without images; give a video file or a folder of images")
    if not stat.S_ISREG(mode):
        raise NotAVideoError(f"{name}: not a regular file; save the video to a file first")
    if refusal := refusal_of_file(path, name):
        raise refusal
    # An absolute path cannot be taken for an address or an option. No read timeout: a process that was
    # stopped for a while (Ctrl-Z) must not find its file dead.
    path = path.absolute()
    threads = min(_FILE_THREADS, len(os.sched_getaffinity(0)))
    opening = Opening(str(path), name, _FILE_OPTIONS, timeout, 0, threads)
    _check_letters(opening.target, name)

    def open_capture(accelerated: bool) -> cv2.VideoCapture:
        capture = _capture(opening, accelerated)
        if not capture.isOpened():
            raise reason_of_file(path, name)
        return capture

    from service.containers import is_whole, look_into  # 20 MB that no live stream needs

    contents = look_into(path, _FILE_OPTIONS)
    if contents.is_sound:
        raise sound_alone(name)

    def weave(capture: cv2.VideoCapture) -> Capture | None:
        return _by_pyav(capture, opening) if contents.is_interlaced else None

    start = partial(
        _first_frame,
        name=name,
        is_network=False,
        read_timeout=0,
        is_whole=partial(is_whole, path, _FILE_OPTIONS),
        begins=contents.begins,
    )
    try:
        return _decoded(open_capture, weave, start, hardware, enough)
    except NoFramesError:
        if not contents.decodes:
            raise
    return start(_by_pyav(open_capture(False), opening))  # AV1, for which OpenCV brings no decoder


def _open_address(
    address: str,
    scheme: str,
    name: str,
    open_timeout: float,
    read_timeout: float,
    host: str | None,
    hardware: HardwareDecode,
    enough: tuple[int, int] | None,
) -> Source:
    options = _RTSP_OPTIONS if scheme.startswith("rtsp") else _HTTP_OPTIONS
    if host is not None:
        if not re.fullmatch(r"[0-9A-Za-z.:_\[\]-]+", host):  # it goes among the options
            raise SourceError(f"{name}: {host!r} cannot be a Host header; give a host name and a port")
        if options is _HTTP_OPTIONS:
            if not _can_forbid_redirects():
                raise SourceError(
                    f"{name}: this OpenCV follows redirects to anywhere, so no HTTP address that a client "
                    "names is opened; install opencv-python-headless 5.0 or newer"
                )
            options = options | _PINNED_OPTIONS | {"headers": f"Host: {host}"}
    opening = Opening(address, name, options, open_timeout, read_timeout, _LIVE_THREADS)

    def stayed(open_capture: Callable[[], AnyCapture]) -> AnyCapture:
        """What was opened, if it is where it should be."""
        before = connections()
        capture = open_capture()
        # FFmpeg cannot be kept from following redirects of RTSP. To ask for one first does not help: who
        # wants to redirects FFmpeg alone, and some servers refuse whoever comes right after another.
        if host is not None and any(ip != urlsplit(address).hostname for _, ip in connections() - before):
            capture.release()
            raise AddressRefusedError(
                f"{name}: the server redirects to another host; give the address at which the video is"
            )
        return capture

    def open_capture(accelerated: bool) -> cv2.VideoCapture:
        began = time.monotonic()
        capture = stayed(lambda: _capture(opening, accelerated))
        if not capture.isOpened():
            if time.monotonic() - began > 0.95 * open_timeout:
                raise SourceTimeoutError(f"{name}: no video within {open_timeout:g} s; is the address right?")
            raise reason_of_address(address, name, min(open_timeout, 5.0))
        return capture

    def weave(capture: cv2.VideoCapture) -> Capture | None:
        return stayed(lambda: _by_pyav(capture, opening)) if announces_interlaced(_headers(capture)) else None

    start = partial(_first_frame, name=name, is_network=True, read_timeout=read_timeout)
    return _decoded(open_capture, weave, start, hardware, enough)


def _headers(capture: cv2.VideoCapture) -> bytes:
    """The headers of a stream as FFmpeg keeps them, without reading from it."""
    _, data = capture.retrieve(None, int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
    return b"" if data is None else data.tobytes()


def _by_pyav(capture: cv2.VideoCapture, opening: Opening) -> Capture:
    from service.pyav_capture import PyAvCapture  # 20 MB that few streams need

    return PyAvCapture(capture, opening)


def _can_forbid_redirects() -> bool:
    """Whether OpenCV's FFmpeg knows ``max_redirects``; an older one passes over it without a word."""
    version = re.search(r"avformat:\s+YES \((\d+)\.(\d+)", cv2.getBuildInformation())
    return version is not None and (int(version[1]), int(version[2])) >= _KNOWS_MAX_REDIRECTS


def _open_device(device: int | str, name: str, open_timeout: float, read_timeout: float) -> Source:
    missing = SourceNotFoundError(f"{name}: there is no such camera, or another program uses it")
    if isinstance(device, int) and device > 255:
        raise missing
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2) if isinstance(device, str) else cv2.VideoCapture(device)
    if not capture.isOpened():
        raise missing
    return _first_frame(capture, name, False, read_timeout)


def _capture(opening: Opening, accelerated: bool = False) -> cv2.VideoCapture:
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


def _decoded(
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


def has_graphics() -> bool:
    """Whether this process may use a graphics device."""
    return any(os.access(device, os.R_OK | os.W_OK) for device in _GRAPHICS.glob("renderD*"))


def _first_frame(
    capture: Capture,
    name: str,
    is_network: bool,
    read_timeout: float,
    is_whole: Callable[[int], bool] | None = None,
    begins: float = 0.0,
) -> VideoSource:
    try:
        return VideoSource(capture, name, is_network, read_timeout, is_whole, begins)
    except BaseException:
        capture.release()
        raise
