"""What a clip's process tells the service: one JSON object a message.

JSON and not pickle, because the sender has decoded a stranger's file: whoever took it over must not get
further than this.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from service.checking import decoded
from service.clips.records import VideoFacts
from service.types import EventMessage

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Probed:
    """The first frame was decoded."""

    video: VideoFacts


@dataclass(frozen=True, slots=True)
class Working:
    """``frames`` are done; 0 once the model is loaded."""

    frames: int


@dataclass(frozen=True, slots=True)
class Happened:
    message: EventMessage


@dataclass(frozen=True, slots=True)
class Finished:
    """All results are on disk; ``duration`` is seconds of media time."""

    frames: int
    duration: float
    ended_early: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """``reason`` is for the sender of the clip."""

    reason: str


Report = Probed | Working | Happened | Finished | Failed
_KINDS: dict[str, type[Report]] = {
    kind.__name__: kind for kind in (Probed, Working, Happened, Finished, Failed)
}


def encode(report: Report) -> bytes:
    return json.dumps([type(report).__name__, asdict(report)]).encode()


def decode(data: bytes) -> Report:
    """Raises ValueError, KeyError or TypeError for what ``encode`` has not made."""
    return decoded(data, _KINDS)
