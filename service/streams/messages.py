"""What a stream's process and the service tell each other: one message of bytes each.

JSON and not pickle, because the process decodes what a stranger sends: whoever took it over must not get
further than this. A picture travels as its bare JPEG behind one byte.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from service.checking import decoded
from service.types import EventMessage, StreamState

MAX_BYTES: Final = 16 << 20
_PICTURE: Final = b"J"


@dataclass(frozen=True, slots=True)
class Standing:
    """The state has changed. ``wait`` is the seconds until the next try, where there will be one."""

    state: StreamState
    reason: str | None = None
    attempt: int = 1
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The first frame of a connection was decoded."""

    width: int
    height: int
    fps: float
    is_live: bool


@dataclass(frozen=True, slots=True)
class Labelled:
    """One smoothed prediction. ``captured_at`` is Unix seconds, ``age`` seconds from capture to label.

    ``top`` holds the likeliest labels with their smoothed probabilities, ``dropped`` the number of frames
    that were never classified since the last message of this kind, ``event`` the id of the open event.
    """

    index: int
    pts: float
    captured_at: float
    age: float
    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    dropped: int
    event: str | None


@dataclass(frozen=True, slots=True)
class Announced:
    """A step in the life of an event; ``epoch`` is the Unix time at pts 0, ``None`` for a file."""

    message: EventMessage
    epoch: float | None


@dataclass(frozen=True, slots=True)
class Tried:
    """A step in the life of an event that there would be, were the label of this event not on trial."""

    message: EventMessage
    epoch: float | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a label on trial would have taken from others in the last ``frames`` predictions.

    ``taken`` holds known labels with the sum of the probabilities that each would have lost.
    """

    label: str
    frames: int
    taken: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """About once a second: paces, and the seconds watched, dropped and blind since the last one.

    ``fps`` is frames that arrive per second, None until two have come over a connection; ``classified_fps``
    those classified, 0 until two have been. ``inference_seconds`` is the mean time that a classification
    took. ``frames``, ``dropped``, ``classified`` and ``reused`` (not classified, because they look like the
    last classified one) count frames from the start of the process. Seconds dropped are those in which no
    frame could be had.
    """

    fps: float | None
    classified_fps: float
    inference_seconds: float | None
    frames: int
    dropped: int
    classified: int
    reused: int
    seconds_watched: float
    seconds_dropped: float
    seconds_blind: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording, of an event or continuous, was finished; ``file`` is its name in the stream's folder."""

    event: str | None
    file: str


@dataclass(frozen=True, slots=True)
class Picture:
    """The newest annotated frame, as JPEG."""

    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Watch:
    """To the process: whether anybody wants pictures."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class Pace:
    """To the process: classifications per second that it may ask for; None: as its options say."""

    rate: float | None


Told = (
    Standing | Opened | Labelled | Announced | Tried | Weighed | Measured | Recorded | Picture | Watch | Pace
)
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Standing, Opened, Labelled, Announced, Tried, Weighed, Measured, Recorded, Watch, Pace)
}


def encode(told: Told) -> bytes:
    if isinstance(told, Picture):
        return _PICTURE + told.jpeg
    return json.dumps([type(told).__name__, asdict(told)], allow_nan=False).encode()


def decode(data: bytes) -> Told:
    """Raises ValueError, KeyError or TypeError for what ``encode`` has not made."""
    if data[:1] == _PICTURE:
        return Picture(data[1:])
    told: Told = decoded(data, _KINDS)
    return told
