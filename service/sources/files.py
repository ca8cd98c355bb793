"""Opens files and folders: video, images, and the device files of cameras."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import Final

import cv2

from service.config import HardwareDecode
from service.errors import NoFramesError, NotAVideoError, SourceNotFoundError
from service.sources.cameras import open_camera
from service.sources.decoders import by_pyav, decoded
from service.sources.ffmpeg import CONTAINERS, Opening, open_capture
from service.sources.images import ImageSequence, find_images
from service.sources.mirrored import MirroredCapture
from service.sources.names import check_letters
from service.sources.probing import reason_of_file, refusal_of_file, sound_alone
from service.sources.video import FALLBACK_FPS, Capture, VideoSource, first_frame, turn_of

_OPTIONS: Final = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
_THREADS: Final = 4
"""Most that decode a file: enough to outrun any network, with few frames in memory."""


def open_path(
    path: Path, name: str, timeout: float, hardware: HardwareDecode, enough: tuple[int, int] | None
) -> VideoSource | ImageSequence:
    """``path`` exists, or is named by a ``file`` address; the rest is as in ``open_source``."""
    try:
        mode = path.stat().st_mode
        images = find_images(path)
    except OSError as error:
        raise _not_found(name, error) from error
    if stat.S_ISCHR(mode):
        return open_camera(str(path), name, timeout)
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
    threads = min(_THREADS, len(os.sched_getaffinity(0)))
    opening = Opening(str(path), name, _OPTIONS, timeout, 0, threads)
    check_letters(opening.target, name)

    def open_file(accelerated: bool) -> cv2.VideoCapture:
        capture = open_capture(opening, accelerated)
        if not capture.isOpened():
            raise reason_of_file(path, name)
        return capture

    from service.sources.containers import is_whole, look_into  # 20 MB that no live stream needs

    contents = look_into(path, _OPTIONS)
    if contents.is_sound:
        raise sound_alone(name)

    def weave(capture: cv2.VideoCapture) -> Capture | None:
        return by_pyav(capture, opening) if contents.is_interlaced else None

    def start(capture: Capture) -> VideoSource:
        if contents.mirrored_at == turn_of(capture):
            capture = MirroredCapture(capture)
        return first_frame(
            capture,
            name,
            is_network=False,
            read_timeout=0,
            is_whole=partial(is_whole, path, _OPTIONS),
            begins=contents.begins,
        )

    try:
        return decoded(open_file, weave, start, hardware, enough)
    except NoFramesError:
        if not contents.decodes:
            raise
    return start(by_pyav(open_file(False), opening))  # AV1, for which OpenCV brings no decoder


def open_pattern(path: Path, name: str) -> ImageSequence:
    """``path`` does not exist, but may stand for images (``frames/%04d.jpg``)."""
    try:
        images = find_images(path)
    except OSError as error:
        raise _not_found(name, error) from error
    if not images:
        raise SourceNotFoundError(f"{name}: there is no such file or directory; check the path")
    return ImageSequence(images, name, FALLBACK_FPS)


def _not_found(name: str, error: OSError) -> SourceNotFoundError:
    return SourceNotFoundError(f"{name}: cannot be found ({error.strerror}); check the path")
