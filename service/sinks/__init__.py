"""Where results go: one sink per file, all with the same three methods.

A sink is used from one thread. Whatever it cannot write it raises as ``errors.SinkError``, at the
latest from ``close``, which is called after such a failure too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from service.types import Event, EventMessage, Frame, SmoothedPrediction


@dataclass(frozen=True, slots=True)
class Step:
    """All that is known of one frame when it leaves the pipeline.

    ``frame.image`` is as it was decoded; the sink that shows it may draw on it, so there is one such
    sink at most. ``smoothed`` is the latest smoothed prediction (of an
    earlier frame where not every frame is classified, ``None`` before the first). ``event`` is the
    event that goes on at this frame, ``messages`` the steps in the life of events due to it. ``reused``
    says that the frame was not classified because it looks like the last one that was.
    """

    frame: Frame
    smoothed: SmoothedPrediction | None
    event: Event | None
    messages: tuple[EventMessage, ...]
    reused: bool = False


class Sink(Protocol):
    def write(self, step: Step) -> None:
        """Take the next frame; may wait while a bounded queue is full, never drops."""
        ...

    def close(self, last: tuple[EventMessage, ...]) -> None:
        """Finish the output, also of a source that was cut short, and as far as it goes after a failure.

        ``last`` are the messages that came after the last frame: the events that its end has ended.
        """
        ...

    def abort(self) -> None:
        """Give up, instead of ``close``: leave nothing half-written behind. Never raises."""
        ...
