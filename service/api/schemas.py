"""What goes over the wire, apart from the records within so that either may change without the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service.api.links import link
from service.clips.records import Clip, ClipOptions, ClipState
from service.config import RunSettings, listed
from service.event_log import LoggedMessage, Page
from service.feed import Gap, GapReason
from service.smoothing import LONGEST_WINDOW
from service.types import CLIP_PREFIX, EndReason, Event, EventPhase

PLACE: Final = rf"^[0-9]+\.[0-9]+-{CLIP_PREFIX}[0-9a-f]+$"
"""Of a clip in the list of clips: when it came, and its id."""

Item = TypeVar("Item")


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EventOut(Wire):
    """A label, from when to when."""

    id: str
    stream: str
    """The name of the stream, or the id of the clip."""
    label: str
    start_pts: float
    """Seconds of media time, dated back to the first frame of the event."""
    end_pts: float | None
    """Seconds of media time, of the first frame after the event; null while it goes on."""
    peak_confidence: float
    """Largest smoothed probability since it was known, 0 to 1."""
    mean_confidence: float
    """Mean of the smoothed probability since it was known, 0 to 1."""
    detect_delay: float
    """Seconds of media time from the start until the event was known."""
    end_reason: EndReason | None
    model: str
    """Name and version."""
    started_at: datetime | None = None
    """The start by the clock, of live sources."""
    ended_at: datetime | None = None
    """The end by the clock, of live sources."""

    @classmethod
    def of(cls, event: Event, model: str, epoch: float | None = None) -> Self:
        return cls(
            id=event.id,
            stream=event.stream,
            label=event.label,
            start_pts=round(event.start_pts, 3),
            end_pts=None if event.end_pts is None else round(event.end_pts, 3),
            peak_confidence=round(event.peak_confidence, 4),
            mean_confidence=round(event.mean_confidence, 4),
            detect_delay=round(event.detect_delay, 3),
            end_reason=event.end_reason,
            model=model,
            started_at=None if epoch is None else when(epoch + event.start_pts),
            ended_at=None if epoch is None or event.end_pts is None else when(epoch + event.end_pts),
        )


class MessageOut(Wire):
    """A step in the life of an event."""

    type: Literal["event"] = "event"
    position: int
    """In the log of all events: what to give as `after` to go on from here."""
    seq: int
    """Rises by one per message of a stream."""
    phase: EventPhase
    recorded_at: datetime
    event: EventOut

    @classmethod
    def of(cls, logged: LoggedMessage) -> Self:
        message = logged.message
        return cls(
            position=logged.position,
            seq=message.seq,
            phase=message.phase,
            recorded_at=when(logged.recorded_at),
            event=EventOut.of(message.event, logged.model, logged.epoch),
        )


class HelloOut(Wire):
    """First word to a subscriber: ``position`` is where it starts, ``newest`` the end of the log."""

    type: Literal["hello"] = "hello"
    position: int
    newest: int


class GapOut(Wire):
    """Messages after ``after`` up to ``until`` may have existed and are no longer kept."""

    type: Literal["gap"] = "gap"
    after: int
    until: int
    reason: GapReason

    @classmethod
    def of(cls, gap: Gap) -> Self:
        return cls(after=gap.after, until=gap.until, reason=gap.reason)


class MessagesOut(Wire):
    """``next`` is the ``after`` of the next page; ``forgotten`` is how far back nothing is kept."""

    messages: list[MessageOut]
    next: int
    newest: int
    forgotten: int

    @classmethod
    def of(cls, page: Page, after: int, limit: int) -> Self:
        full = len(page.messages) >= limit
        return cls(
            messages=[MessageOut.of(logged) for logged in page.messages],
            next=page.messages[-1].position if page.messages and full else max(after, page.last),
            newest=page.last,
            forgotten=page.forgotten,
        )


class ClipLinks(Wire):
    self: str
    annotated: str
    events: str

    @classmethod
    def of(cls, clip: Clip) -> ClipLinks:
        base = link(f"/clips/{clip.id}")
        return cls.model_validate(
            {"self": base, "annotated": f"{base}/annotated", "events": f"{base}/events"}
        )


class ClipAccepted(Wire):
    id: str
    state: ClipState
    links: ClipLinks


class ClipOut(Wire):
    """An uploaded clip, and how far it is."""

    id: str
    name: str
    """Of the file, as it was uploaded."""
    state: ClipState
    held_up: str | None
    """Why it waits though it is its turn."""
    progress: float | None
    """Share of frames done, 0 to 1; null where their number is unknown."""
    frames: int
    """Frames done."""
    frame_count: int | None
    """Frames that the file announces."""
    fps: float | None
    """Frames done per second: the pace of the work, not the rate of the video."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    duration: float | None
    """Seconds of media time done."""
    created_at: datetime
    finished_at: datetime | None
    model: str
    """Name and version."""
    labels: list[str] | None
    """Only these were looked for; null: all."""
    error: str | None
    """Why it failed."""
    ended_early: str | None
    """Why the results do not cover the whole video."""
    attempt: int
    """Counted from 1."""
    links: ClipLinks
    events: list[EventOut] | None = None

    @classmethod
    def of(cls, clip: Clip, events: tuple[Event, ...] | None = None) -> Self:
        labels = clip.options.labels
        return cls(
            id=clip.id,
            name=clip.name,
            state=clip.state,
            held_up=clip.held_up,
            progress=None if clip.progress is None else round(clip.progress, 4),
            frames=clip.frames,
            frame_count=clip.video.frame_count,
            fps=None if clip.fps is None else round(clip.fps, 2),
            width=clip.video.width,
            height=clip.video.height,
            duration=None if clip.duration is None else round(clip.duration, 3),
            created_at=when(clip.created_at),
            finished_at=None if clip.finished_at is None else when(clip.finished_at),
            model=clip.model,
            labels=None if labels is None else list(labels),
            error=clip.error,
            ended_early=clip.ended_early,
            attempt=clip.attempt,
            links=ClipLinks.of(clip),
            events=None if events is None else [EventOut.of(event, clip.model) for event in events],
        )


class ClipList(Wire):
    """``next`` is the ``after`` of the next page, null on the last one."""

    clips: list[ClipOut]
    next: str | None

    @classmethod
    def of(cls, clips: Iterable[Clip], after: str | None, limit: int) -> Self:
        page, following = page_of(clips, lambda clip: (clip.created_at, clip.id), after, limit)
        return cls(clips=[ClipOut.of(clip) for clip in page], next=following)


def page_of(
    items: Iterable[Item], place: Callable[[Item], tuple[float, str]], after: str | None, limit: int
) -> tuple[list[Item], str | None]:
    """The ``limit`` newest of ``items`` before the place ``after``, and where the following page begins.

    ``place`` gives Unix seconds and a name, by which they are in order. ``after`` is written as the place of
    the last one on a page is returned, whether that is still there or not.
    """
    rest = sorted(items, key=place, reverse=True)
    if after is not None:
        seconds, _, name = after.partition("-")
        rest = [item for item in rest if place(item) < (float(seconds), name)]
    page = rest[:limit]
    return page, "{!r}-{}".format(*place(page[-1])) if len(rest) > limit else None


class RunOptionsIn(Wire):
    """How probabilities become events: the options of ``video-events run``."""

    window: int = Field(
        RunSettings().window, ge=1, le=LONGEST_WINDOW, description="Rolling average, in classified frames."
    )
    window_seconds: float | None = Field(None, gt=0, le=3600, description="In seconds, instead of frames.")
    enter: float = Field(
        RunSettings().enter, gt=0, le=1, description="Smoothed probability from which on an event starts."
    )
    exit: float = Field(
        RunSettings().exit,
        gt=0,
        le=1,
        description="Smoothed probability below which it ends; at most `enter`.",
    )
    min_duration: float = Field(
        RunSettings().min_duration,
        ge=0,
        le=3600,
        description="Seconds that a label must hold to be an event.",
    )
    merge_gap: float = Field(
        RunSettings().merge_gap,
        ge=0,
        le=3600,
        description="Seconds; events with a shorter gap are one.",
    )
    every: int = Field(RunSettings().every, ge=1, le=1000, description="Classify every Nth frame only.")
    gate: bool | None = Field(
        None, description="Do not classify what looks like the last classified frame; null: on live sources."
    )


class ClipOptionsIn(RunOptionsIn):
    """The form fields beside ``file``."""

    labels: str | None = Field(
        None,
        description="Only these labels of the model, separated by commas; one with a comma in double quotes.",
    )

    def options(self) -> ClipOptions:
        """Raises ``ConfigurationError`` for values that do not go together."""
        settings = RunSettings(**self.model_dump(exclude={"labels"}))
        settings.check()
        return ClipOptions(settings, None if self.labels is None else listed(self.labels))


def when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(2048)
def message_text(logged: LoggedMessage) -> str:
    """The JSON of a message, made once for all subscribers."""
    return MessageOut.of(logged).model_dump_json()


def message_body(logged: LoggedMessage) -> bytes:
    """What a webhook gets: the same JSON as a subscriber."""
    return message_text(logged).encode()
