"""What a file holds, by PyAV: OpenCV knows neither a file's other streams nor its packets.

``options`` are FFmpeg's for opening the file, and what PyAV cannot open is nobody's fault here: OpenCV, or
``service.probing``, will say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av
from av.stream import Disposition

_LOOKED_AT: Final = 10
"""Pictures of a file; film on a DVD has interlaced ones among any five."""
_NEARLY: Final = 0.9
"""Share of what is announced that counts as all of it: containers round, and guess counts from a duration."""


@dataclass(frozen=True, slots=True)
class Contents:
    """``is_sound``: it holds sound and at most a picture of its cover. ``is_interlaced``: its first pictures
    are marked so, any of them."""

    is_sound: bool = False
    is_interlaced: bool = False


def look_into(path: Path, options: Mapping[str, str]) -> Contents:
    """What a file holds, as far as its header and first pictures tell."""
    try:
        with av.open(str(path), options=dict(options)) as container:
            films = [film for film in container.streams.video if not _is_cover(film)]
            if not films:
                return Contents(is_sound=bool(container.streams.audio))
            some = islice(pictures(container, films[0]), _LOOKED_AT)
            return Contents(is_interlaced=any(picture.interlaced_frame for picture in some))
    except av.FFmpegError:
        return Contents()


def is_whole(path: Path, options: Mapping[str, str], frames: int) -> bool:
    """Whether a file of which ``frames`` were decoded lacks nothing, whatever number it announces.

    So it is where all pictures decode that are to be shown (an edit list hides others) and some stream, the
    sound for instance, goes on to the announced end. Reads the file to its end.
    """
    try:
        with av.open(str(path), options=dict(options)) as container:
            film, shown, end = container.streams.video[0], 0, 0.0
            for packet in container.demux():
                if packet.stream is film and packet.size and not packet.is_discard:
                    shown += 1
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            start, announced = (
                (time or 0) / av.time_base for time in (container.start_time, container.duration)
            )
    except (av.FFmpegError, IndexError):
        return False
    # A duration is counted from the start, or from 0 (Matroska).
    reached = max(end - start, start) >= _NEARLY * announced
    return reached and frames >= _NEARLY * shown


def pictures(container: Any, stream: Any) -> Iterator[Any]:
    """The pictures of a stream of a container; what cannot be decoded is passed over."""
    packets = container.demux(stream)
    while True:
        try:
            decoded = next(packets).decode()
        except StopIteration:
            return
        except av.FFmpegError:
            continue
        yield from decoded


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
