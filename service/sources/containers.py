"""What a file holds, by PyAV: OpenCV knows neither a file's other streams nor its packets.

``options`` are FFmpeg's for opening the file, and what PyAV cannot open is nobody's fault here: OpenCV, or
``service.sources.probing``, will say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.stream import Disposition

_LOOKED_AT: Final = 10
"""Pictures of a file; film on a DVD has interlaced ones among any five."""
_NEARLY: Final = 0.9
"""Share of what is announced that counts as all of it: containers round, and guess counts from a duration."""


@dataclass(frozen=True, slots=True)
class Contents:
    """``is_sound``: it holds sound and at most a picture of its cover. ``is_interlaced``: its first pictures
    are marked so, any of them. ``decodes``: there are such pictures. ``mirrored_at``: where they are to be
    shown mirrored, by how many degrees clockwise they are turned before. ``begins``: seconds that it counts
    before its first picture."""

    is_sound: bool = False
    is_interlaced: bool = False
    decodes: bool = False
    mirrored_at: int | None = None
    begins: float = 0.0


def look_into(path: Path, options: Mapping[str, str]) -> Contents:
    """What a file holds, as far as its header and first pictures tell."""
    try:
        with av.open(str(path), options=dict(options)) as container:
            film = film_of(container)
            if film is None:
                return Contents(is_sound=bool(container.streams.audio))
            some = islice(pictures(container, film), _LOOKED_AT)
            marks = [(picture.interlaced_frame, _mirrored_at(picture)) for picture in some]
            return Contents(
                is_interlaced=any(interlaced for interlaced, _ in marks),
                decodes=bool(marks),
                mirrored_at=marks[0][1] if marks else None,
                begins=_begins(container),
            )
    except av.FFmpegError:
        return Contents()


def is_whole(path: Path, options: Mapping[str, str], frames: int) -> bool:
    """Whether a file of which ``frames`` were decoded lacks nothing, whatever number it announces.

    So it is where all pictures decode that are to be shown (an edit list hides others) and some stream, the
    sound for instance, goes on to the announced end. Reads the file to its end.
    """
    try:
        with av.open(str(path), options=dict(options)) as container:
            film, shown, end = film_of(container), 0, 0.0
            for packet in container.demux():
                if packet.stream is film and packet.size and not packet.is_discard:
                    shown += 1
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            start, announced = (
                (time or 0) / av.time_base for time in (container.start_time, container.duration)
            )
            if (before := _begins(container)) < announced:
                announced -= before
            if container.format.name == "avi" and film is not None and film.average_rate:
                # FFmpeg shortens the duration of a file that was cut off, but not the number of its pictures.
                announced = max(announced, float(film.frames / film.average_rate))
    except av.FFmpegError:
        return False
    return end - start >= _NEARLY * announced and frames >= _NEARLY * shown


def _begins(container: Any) -> float:
    """Seconds that a container counts before its first picture: Matroska from 0 on."""
    return (container.start_time or 0) / av.time_base if "matroska" in container.format.name else 0.0


def _mirrored_at(picture: Any) -> int | None:
    """As in ``Contents``, by the matrix that comes with a picture (ISO/IEC 14496-12, 8.3.2.3)."""
    matrix = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)
    return -picture.rotation % 360 if a * d - b * c < 0 else None


def film_of(container: Any) -> Any | None:
    """The video of a container; the picture of a cover is none."""
    streams = container.streams.video
    return next((one for one in streams if not one.disposition & Disposition.attached_pic), None)


def pictures(container: Any, stream: Any) -> Iterator[Any]:
    """The pictures of a stream of a container; what cannot be decoded is passed over."""
    for packet in _packets(container, stream):
        with suppress(av.FFmpegError):
            yield from stream.decode(packet)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    with suppress(av.FFmpegError):  # it breaks off
        yield from container.demux(stream)
    yield None  # asks the decoder for what it still holds
