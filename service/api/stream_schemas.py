"""What goes over the wire about live streams."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints

from service.api.links import link
from service.api.schemas import RunOptionsIn, Wire, page_of, when
from service.config import RunSettings
from service.event_log import Coverage
from service.sources import redact
from service.streams.archive import RecordedFile
from service.streams.records import NAME, OnOverload, Record, StreamDefinition, StreamOptions, StreamStatus
from service.streams.stream import Label, Stream
from service.types import StreamState

LONGEST_SOURCE = 2000
PLACE: Final = r"^[0-9]+\.[0-9]+-.+$"
"""Of a recording in the list of those of a stream: when it was finished, and its file."""

Source = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SOURCE)]
Share = Annotated[float, Field(ge=0, le=1)]


class StreamOptionsIn(RunOptionsIn):
    """How a stream is worked on; what is left out is as it is by default."""

    labels: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] | None = Field(
        None, min_length=1, max_length=1000, description="Only these labels of the model."
    )
    rate: float | None = Field(None, gt=0, le=1000, description="Most classifications per second.")
    on_overload: OnOverload = Field(
        OnOverload.REFUSE, description="If the network has no room for `rate`: refuse, or lower it."
    )
    crop: tuple[Share, Share, Share, Share] | None = Field(
        None, description="Left, top, width, height of what is classified, as shares of the picture."
    )
    blind_after: float = Field(StreamOptions().blind_after, ge=0, le=3600, description="Seconds; 0: never.")
    frozen_after: float = Field(StreamOptions().frozen_after, ge=0, le=3600, description="Seconds; 0: never.")
    view_rate: float = Field(StreamOptions().view_rate, gt=0, le=60, description="Live pictures per second.")
    record: Record = Field(Record.NEVER, description="Keep annotated video: of every event, or always.")
    record_before: float = Field(StreamOptions().record_before, ge=0, le=60, description="Seconds.")
    record_after: float = Field(StreamOptions().record_after, ge=0, le=60, description="Seconds.")
    record_segment: float = Field(
        StreamOptions().record_segment, ge=10, le=3600, description="Most seconds in a file."
    )

    def options(self) -> StreamOptions:
        """Raises ``ConfigurationError`` for values that do not go together."""
        fields = self.model_dump()
        settings = RunSettings(
            **{name: fields.pop(name) for name in tuple(fields) if name in RunSettings.__slots__}
        )
        labels = fields.pop("labels")
        options = StreamOptions(settings=settings, labels=tuple(labels) if labels else None, **fields)
        options.check()
        return options

    def revise(self, options: StreamOptions) -> StreamOptions:
        """``options`` with what was given here in their place; a window in frames replaces one in seconds.

        Raises ``ConfigurationError`` for values that do not go together.
        """
        given = self.model_dump(exclude_unset=True)
        if "window" in given:
            given.setdefault("window_seconds", None)
        return self.model_validate(self.of(options).model_dump() | given).options()

    @classmethod
    def of(cls, options: StreamOptions) -> Self:
        settings = options.settings
        fields = {name: getattr(settings, name) for name in RunSettings.__slots__ if name in cls.model_fields}
        fields |= {name: getattr(options, name) for name in StreamOptions.__slots__ if name != "settings"}
        return cls.model_validate(fields)


class StreamIn(Wire):
    name: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
    source: Source
    options: StreamOptionsIn = Field(default_factory=lambda: StreamOptionsIn.model_validate({}))

    def definition(self) -> StreamDefinition:
        return StreamDefinition(name=self.name, source=self.source, options=self.options.options())


class StreamChange(Wire):
    """What is left out stays as it is, of the ``options`` too."""

    source: Source | None = None
    options: StreamOptionsIn | None = None


class StreamLinks(Wire):
    self: str
    labels: str
    live: str
    snapshot: str
    events: str
    coverage: str
    recordings: str

    @classmethod
    def of(cls, name: str) -> StreamLinks:
        base = link(f"/streams/{name}")
        parts = {
            "labels": "labels",
            "live": "live.mjpeg",
            "snapshot": "snapshot.jpg",
            "events": "events",
            "coverage": "coverage",
            "recordings": "recordings",
        }
        return cls.model_validate({"self": base} | {name: f"{base}/{path}" for name, path in parts.items()})


class StateOut(Wire):
    """How a stream stands.

    A mere change of its rates is no change of state: `GET /streams/{name}` and `/metrics` tell it.
    """

    state: StreamState
    since: datetime
    """When it came into this state."""
    reason: str | None
    """Of this state, in words."""
    attempt: int
    """To connect, counted from 1."""
    next_try_at: datetime | None
    asked_rate: float | None
    """Classifications per second that are wanted."""
    granted_rate: float | None
    """Classifications per second that are to be had at present."""

    @classmethod
    def of(cls, status: StreamStatus) -> Self:
        return cls(**_standing(status))


class StreamOut(StateOut):
    """A stream: how it stands, what came of it and what is seen now."""

    name: str
    source: str
    """Without its credentials."""
    defined_by: Literal["operator", "client"]
    """What the operator has defined (command line, configuration) cannot be changed or removed here."""
    created_at: datetime
    is_live: bool | None
    """False for a file; null until it is open."""
    width: int | None
    """Pixels."""
    height: int | None
    """Pixels."""
    fps: float | None
    """Frames that arrive per second; null until two have."""
    classified_fps: float | None
    """Frames classified per second."""
    inference_seconds: float | None
    """Mean time that a classification takes."""
    frame_age: float | None
    """Seconds from the capture of a frame to its label."""
    frames: int
    """That have arrived."""
    dropped: int
    """Frames that came too fast to be classified or shown."""
    classified: int
    """Frames that went through the network."""
    reused: int
    """Frames not classified, as they look like the last one that was."""
    label: str | None
    """That is seen now."""
    confidence: float | None
    """Its smoothed probability, 0 to 1."""
    restarts: int
    """Times that its process ended and was started again."""
    options: StreamOptionsIn
    links: StreamLinks

    @classmethod
    def of_stream(cls, stream: Stream) -> Self:
        definition, status = stream.definition, stream.status
        return cls(
            **_standing(status),
            name=definition.name,
            source=redact(definition.source),
            defined_by="operator" if definition.trusted else "client",
            created_at=when(definition.created_at),
            is_live=status.is_live,
            width=status.width,
            height=status.height,
            fps=_rounded(status.fps, 2),
            classified_fps=_rounded(status.classified_fps, 2),
            inference_seconds=_rounded(status.inference_seconds, 4),
            frame_age=_rounded(status.frame_age, 3),
            frames=status.frames,
            dropped=status.dropped,
            classified=status.classified,
            reused=status.reused,
            label=status.label,
            confidence=_rounded(status.confidence, 4),
            restarts=status.restarts,
            options=StreamOptionsIn.of(definition.options),
            links=StreamLinks.of(definition.name),
        )


class StreamList(Wire):
    streams: list[StreamOut]


class ShareOut(Wire):
    label: str
    confidence: float
    """Smoothed probability, 0 to 1."""


class LabelOut(Wire):
    """One smoothed prediction."""

    type: Literal["label"] = "label"
    seq: int
    """Rises by one per prediction of a stream."""
    pts: float
    """Media time of its frame, in seconds."""
    captured_at: datetime
    emitted_at: datetime
    frame_age: float
    """Seconds from capture to label."""
    label: str
    """The likeliest; `background` is one, too."""
    confidence: float
    """Its smoothed probability, 0 to 1."""
    top: list[ShareOut]
    """The likeliest labels."""
    dropped: int
    """Frames not classified since the last prediction, shown or not."""
    event: str | None
    """Id of the event that goes on."""

    @classmethod
    def of(cls, label: Label) -> Self:
        told = label.labelled
        return cls(
            seq=label.seq,
            pts=round(told.pts, 3),
            captured_at=when(told.captured_at),
            emitted_at=when(label.emitted_at),
            frame_age=round(told.age, 4),
            label=told.label,
            confidence=round(told.confidence, 4),
            top=[ShareOut(label=name, confidence=round(share, 4)) for name, share in told.top],
            dropped=told.dropped,
            event=told.event,
        )


class SnapshotOut(Wire):
    """First word to a subscriber: how the stream stands, and its last label, if there is one."""

    type: Literal["snapshot"] = "snapshot"
    stream: StreamOut
    last: LabelOut | None


class StateChangeOut(StateOut):
    """The state has changed."""

    type: Literal["state"] = "state"


class MissedOut(Wire):
    """The subscriber was too slow."""

    type: Literal["missed"] = "missed"
    count: int
    """Of messages."""


class RemovedOut(Wire):
    """Last word to a subscriber: the stream was removed or changed. A service that stops closes with 1012."""

    type: Literal["removed"] = "removed"


class HourOut(Wire):
    """One hour."""

    hour: datetime
    """Its beginning."""
    watched: float
    """Seconds watched."""
    dropped: float
    """Seconds without frames to be had."""
    blind: float
    """Seconds with frames on which nothing is seen."""

    @classmethod
    def of(cls, coverage: Coverage) -> Self:
        return cls(
            hour=when(coverage.hour),
            watched=round(coverage.watched, 1),
            dropped=round(coverage.dropped, 1),
            blind=round(coverage.blind, 1),
        )


class CoverageOut(Wire):
    stream: str
    hours: list[HourOut]


class RecordingOut(Wire):
    file: str
    bytes: int
    finished_at: datetime
    link: str

    @classmethod
    def of(cls, stream: str, file: RecordedFile) -> Self:
        name = file.path.name
        return cls(
            file=name,
            bytes=file.bytes,
            finished_at=when(file.finished_at),
            link=link(f"/streams/{stream}/recordings/{name}"),
        )


class RecordingList(Wire):
    """``next`` is the ``after`` of the next page, null on the last one."""

    recordings: list[RecordingOut]
    next: str | None

    @classmethod
    def of(cls, stream: str, files: Iterable[RecordedFile], after: str | None, limit: int) -> Self:
        """A page of ``files``; ``after`` is a place among them, whether its file is still there or not."""
        page, following = page_of(files, lambda file: (file.finished_at, file.path.name), after, limit)
        return cls(recordings=[RecordingOut.of(stream, file) for file in page], next=following)


@lru_cache(1024)
def label_text(label: Label) -> str:
    """The JSON of a label, made once for all subscribers."""
    return LabelOut.of(label).model_dump_json()


def _standing(status: StreamStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "since": when(status.since),
        "reason": status.reason,
        "attempt": status.attempt,
        "asked_rate": _rounded(status.asked_rate, 2),
        "granted_rate": _rounded(status.granted_rate, 2),
        "next_try_at": None if status.next_try_at is None else when(status.next_try_at),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
