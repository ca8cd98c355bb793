"""What is to be posted where, how hard to try, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from service.backoff import Backoff
from service.errors import ConfigurationError
from service.event_log import LoggedMessage
from service.types import EventPhase

SHORTEST_SECRET: Final = 16
_BACKOFF: Final = Backoff(first=1.0, limit=300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where to post which messages; ``None`` for ``streams`` and ``labels`` means all of them.

    ``name`` keys the cursor: a new name starts at the end of the log, a known one goes on where it was.
    Raises ConfigurationError.
    """

    name: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    streams: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    phases: tuple[EventPhase, ...] = (EventPhase.STARTED, EventPhase.ENDED)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.name):
            raise ConfigurationError(f"webhook {self.name!r}: a name is 1 to 64 of A-Z a-z 0-9 _ -")
        if len(self.secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"webhook {self.name}: the secret must have at least {SHORTEST_SECRET} characters"
            )

    def wants(self, logged: LoggedMessage) -> bool:
        message = logged.message
        return (
            message.phase in self.phases
            and (self.streams is None or message.event.stream in self.streams)
            and (self.labels is None or message.event.label in self.labels)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """Times in seconds. ``most_dead`` letters are kept per webhook; the oldest go first."""

    attempts: int = 8
    connect_timeout: float = 5.0
    total_timeout: float = 10.0
    backoff: Backoff = _BACKOFF
    most_dead: int = 10_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was not delivered; ``id`` is its X-Video-Events-Delivery, ``died_at`` Unix time."""

    id: str
    webhook: str
    position: int
    reason: str
    attempts: int
    died_at: float
    queued: bool


@dataclass(slots=True)
class WebhookCounts:
    """Since the start: ``failed`` attempts, letters that died, those deleted to make room for newer ones,
    and positions of the log that were forgotten before they could be sent. ``position`` is done with."""

    position: int = 0
    delivered: int = 0
    failed: int = 0
    dead: int = 0
    dead_deleted: int = 0
    forgotten: int = 0
    last_failure: str | None = None
