"""What is known of an uploaded clip, what its sender may choose, and what the service puts up with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from service.config import RunSettings
from service.types import Classifier


class ClipState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ModelProvider(Protocol):
    """Opens a classifier in the process that calls it; has to be picklable.

    The seam at which a clip's process gets at inference: an engine of its own, or one shared with the
    live streams.
    """

    @property
    def name(self) -> str:
        """Name and version, as recorded with the events."""
        ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    def open(self, batch_size: int) -> Classifier: ...


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What the sender chose; ``labels`` ``None`` means all that the model has."""

    settings: RunSettings = field(default_factory=RunSettings)
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the first frame and the container tell; ``frame_count`` is a claim, or ``None``."""

    width: int
    height: int
    fps: float
    frame_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A clip at one moment. Times are Unix seconds; ``size`` is bytes on disk, all files together.

    ``name`` is what the sender called it, made harmless, for people only: no path is made of it.
    ``attempt`` counts the times it was begun, ``crashes`` how often its process, or the service, was
    brought down meanwhile.
    ``fps`` is frames worked on per second of wall clock. ``held_up`` says why it is not begun though it is
    its turn, ``error`` why it failed, ``ended_early`` why the results do not cover the whole clip.
    """

    id: str
    name: str
    state: ClipState
    created_at: float
    size: int
    video: VideoFacts
    options: ClipOptions
    model: str
    attempt: int = 1
    crashes: int = 0
    frames: int = 0
    fps: float | None = None
    duration: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    held_up: str | None = None
    error: str | None = None
    ended_early: str | None = None

    @property
    def attempt_name(self) -> str:
        """Begins the ids of this attempt's events, which all attempts log under the clip's id as stream."""
        return self.id if self.attempt == 1 else f"{self.id}.{self.attempt}"

    @property
    def progress(self) -> float | None:
        """Share of the frames done, 0..1; ``None`` where the number of frames is not known."""
        if self.state is ClipState.DONE:
            return 1.0
        if not self.video.frame_count:
            return None if self.frames else 0.0
        return min(0.999, self.frames / self.video.frame_count)

    @property
    def is_finished(self) -> bool:
        return self.state in (ClipState.DONE, ClipState.FAILED)

    def again(self) -> Clip:
        """As it waits for another attempt."""
        return replace(self, state=ClipState.QUEUED, attempt=self.attempt + 1, frames=0, fps=None)

    def failed(self, reason: str, now: float) -> Clip:
        return replace(self, state=ClipState.FAILED, error=reason, finished_at=now, size=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLimits:
    """What clips may cost: bytes, pixels of a frame, seconds.

    ``memory`` is address space that decoding may take beyond what the model took. ``stall_seconds`` is
    how long a process may be silent, ``run_seconds`` how long it may work in all, ``probe_seconds`` how
    long it may take to decode the first frame.
    """

    upload_bytes: int = 4 << 30
    quota_bytes: int = 20 << 30
    free_bytes: int = 1 << 30
    pixels: int = 8192 * 4352
    video_seconds: float = 6 * 3600.0
    memory: int = 3 << 30
    probe_seconds: float = 30.0
    stall_seconds: float = 180.0
    run_seconds: float = 12 * 3600.0
    parallel: int = 1
    waiting: int = 16
    crashes: int = 2
    keep_seconds: float = 7 * 86400.0
