"""What a stream is told to do, and what is known of it at one moment."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from service.config import RunSettings
from service.errors import ConfigurationError
from service.types import CLIP_PREFIX, Classifier, StreamState

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class LiveModel(Protocol):
    """Opens a classifier in the stream's own process; has to be picklable."""

    @property
    def name(self) -> str:
        """Name and version, as recorded with the events."""
        ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def views(self) -> int:
        """As ``Classifier.views``."""
        ...

    def open_live(self, while_waiting: Callable[[], None]) -> AbstractContextManager[Classifier]:
        """``while_waiting`` is called at least every 0.2 s while a call of the classifier waits.

        The network waits for the stream's next input until the context is left.
        """
        ...


class OnOverload(StrEnum):
    """What becomes of a stream whose ``rate`` the network has no room for."""

    REFUSE = "refuse"
    LOWER = "lower"


class Record(StrEnum):
    """What of a stream is kept as annotated video."""

    NEVER = "never"
    EVENTS = "events"
    ALWAYS = "always"

    @classmethod
    def _missing_(cls, value: object) -> Record | None:
        """``true`` and ``false``, as it was before there was more to choose from."""
        return (cls.EVENTS if value else cls.NEVER) if isinstance(value, bool) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a stream is worked on.

    ``labels`` ``None`` means all that the model has. ``rate`` is the most classifications per second of
    media time (``None``: what the others leave); ``on_overload`` whether a stream for whose rate there is
    no room is to be refused, or takes what there is. ``crop`` is the part of the picture that is
    classified: left, top, width, height as shares of the whole. A picture that is black, white or covered
    for ``blind_after`` seconds, or identical for ``frozen_after`` seconds, is one that cannot be seen;
    0 switches either off. ``view_rate`` bounds the frames per second of the live view. ``record`` keeps
    annotated video: of every event, with ``record_before`` and ``record_after`` seconds around it, or of
    all, in files of at most ``record_segment`` seconds.
    """

    settings: RunSettings = field(default_factory=RunSettings)
    labels: tuple[str, ...] | None = None
    rate: float | None = None
    on_overload: OnOverload = OnOverload.REFUSE
    crop: tuple[float, float, float, float] | None = None
    blind_after: float = 1.0
    frozen_after: float = 3.0
    view_rate: float = 12.0
    record: Record = Record.NEVER
    record_before: float = 5.0
    record_after: float = 5.0
    record_segment: float = 600.0

    def check(self) -> None:
        """Raise ``ConfigurationError`` for a value that cannot work."""
        self.settings.check()
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise ConfigurationError(f"rate must be above 0 and at most 1000, got {self.rate:g}")
        if not self.view_rate > 0:
            raise ConfigurationError(f"view_rate must be above 0, got {self.view_rate:g}")
        if self.crop is not None:
            left, top, width, height = self.crop
            if not (0 <= left < 1 and 0 <= top < 1 and 0 < width <= 1 - left and 0 < height <= 1 - top):
                raise ConfigurationError(
                    "crop must be left, top, width, height as shares of the picture that stay within it, "
                    f"got {self.crop}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDefinition:
    """A stream as it was asked for. ``source`` may hold credentials: it is never shown or logged.

    ``trusted`` sources come from the operator (command line, configuration): only they may be files or
    devices. ``created_at`` is Unix seconds.
    """

    name: str
    source: str
    options: StreamOptions = field(default_factory=StreamOptions)
    trusted: bool = False
    created_at: float = 0.0

    def check(self) -> None:
        """Raise ``ConfigurationError`` for a name or an option that cannot be."""
        if not NAME.fullmatch(self.name) or self.name.startswith(CLIP_PREFIX):
            raise ConfigurationError(
                f"the name of a stream has 1 to 64 letters, digits, - or _, begins with a letter or digit, "
                f"and not with {CLIP_PREFIX!r}; got {self.name!r}"
            )
        if not self.source:
            raise ConfigurationError(f"stream {self.name} needs a source")
        self.options.check()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """What is known of a stream at one moment.

    ``attempt`` numbers the present try to connect, from 1, and ``next_try_at`` (Unix seconds) is set while
    it waits for the next. ``fps`` is frames per second that arrive (None until two have), ``classified_fps``
    those classified; ``frame_age`` the seconds from the arrival of the newest classified frame to its label.
    Since the process started, ``dropped`` frames were never classified nor shown, ``classified`` went through
    the network, and ``reused`` took over what it had said of an earlier frame that they look like.
    ``asked_rate`` and ``granted_rate`` are classifications per second: wanted (None where not known yet), and
    to be had.
    """

    name: str
    state: StreamState = StreamState.CONNECTING
    since: float = 0.0
    reason: str | None = None
    attempt: int = 1
    next_try_at: float | None = None
    is_live: bool | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    classified_fps: float | None = None
    inference_seconds: float | None = None
    frame_age: float | None = None
    frames: int = 0
    dropped: int = 0
    classified: int = 0
    reused: int = 0
    label: str | None = None
    confidence: float | None = None
    restarts: int = 0
    asked_rate: float | None = None
    granted_rate: float | None = None
