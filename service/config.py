"""The settings of one run, checked once at the start and handed on.

Plain and light: the command line shows these defaults in its help, which must answer at once.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.events import EventSettings
    from service.gating import Gate
    from service.smoothing import RollingAverage


class HardwareDecode(StrEnum):
    AUTO = "auto"
    """On a graphics device where there is one that can, otherwise on the processor."""
    OFF = "off"


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list; one with a comma in it stands in double quotes, as in CSV.

    >>> listed('tennis, "jump, high",')
    ('tennis', 'jump, high')
    """
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return tuple(part.strip() for row in rows for part in row if part.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a source is turned into events.

    ``window`` is counted in classified frames; ``window_seconds``, if given, replaces it. ``enter`` and
    ``exit`` are smoothed probabilities, ``min_duration`` and ``merge_gap`` seconds of media time. Every
    ``every``-th frame is classified, the frames between carry the latest label. ``batch_size`` is the
    most model inputs that go through the network at once. With ``gate`` a frame that looks like the last
    classified one takes over what was said of that; ``None`` means on live sources only. A model that judges
    clips sees every frame all the same: one that is left out would make the others look faster.
    """

    window: int = 32
    window_seconds: float | None = None
    enter: float = 0.6
    exit: float = 0.4
    min_duration: float = 0.5
    merge_gap: float = 1.0
    every: int = 1
    batch_size: int = 8
    gate: bool | None = None

    def check(self) -> None:
        """Raise ``ConfigurationError`` for a value that cannot work."""
        for name, value in (("every", self.every), ("batch size", self.batch_size)):
            if value < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {value}")
        self.rolling_average(("any",))
        self.event_settings()

    def rolling_average(self, labels: Sequence[str]) -> RollingAverage:
        from service.smoothing import RollingAverage

        if self.window_seconds is not None:
            return RollingAverage(labels, seconds=self.window_seconds)
        return RollingAverage(labels, window=self.window)

    def open_gate(self, is_live: bool, views: int = 1) -> Gate | None:
        """A gate for one source and a model of so many views, or ``None`` if all are to be classified."""
        if not (is_live if self.gate is None else self.gate):
            return None
        from service.gating import Gate

        return Gate.for_window(self.window, self.window_seconds, views)

    def event_settings(self) -> EventSettings:
        from service.events import EventSettings

        return EventSettings(
            enter=self.enter, exit=self.exit, min_duration=self.min_duration, merge_gap=self.merge_gap
        )
