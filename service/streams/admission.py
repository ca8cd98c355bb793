"""Streams before the door and after it: who may come in, and how often each may have a frame classified."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.errors import ConfigurationError, OverloadedError
from service.streams.records import OnOverload, StreamDefinition, StreamOptions
from service.streams.sharing import TOLERANCE, Demand, SteadyCapacity, grants, promised
from service.streams.stream import Stream
from service.types import StreamState

SAME: Final = 0.05
"""A rate that differs by no more than this share of it is not told anew."""
AWAY: Final = (StreamState.CONNECTING, StreamState.STALLED, StreamState.LOST, StreamState.FAILED)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """``headroom`` is the share of the measured capacity that is not given away.

    ``least`` is what a stream is promised that takes what the others leave, in inputs per second.
    """

    headroom: float = 0.1
    least: float = 1.0

    def check(self) -> None:
        """Raise ``ConfigurationError`` for a value that cannot work."""
        if not 0 <= self.headroom < 1:
            raise ConfigurationError(f"headroom must be from 0 to below 1, got {self.headroom:g}")
        if not self.least > 0:
            raise ConfigurationError(f"least must be above 0, got {self.least:g}")


class Admission:
    """Divides the capacity of the network, as it was last measured, among streams. For any thread."""

    def __init__(self, settings: AdmissionSettings) -> None:
        settings.check()
        self.settings = settings
        self._capacity = SteadyCapacity()
        self._lock = threading.Lock()
        self._overloaded = False
        self.demand = self.promised = 0.0

    @property
    def capacity(self) -> float | None:
        """Inputs per second that the network takes, None before its first measurement."""
        return self._capacity.value

    def check(self, definition: StreamDefinition, others: Iterable[Stream]) -> None:
        """Raise ``OverloadedError`` if there is no room for a stream beside ``others``.

        Before the first measurement there is always room: what turns out to be too much is lowered.
        """
        wanted = self.promise(definition.options)
        with self._lock:
            measured = self._capacity.value
            if measured is None:
                return
            given = promised([self._demand(stream.definition, stream) for stream in others])
            room = self._budget(measured) - given
            if wanted <= room + TOLERANCE:
                return
            fits = room if room >= self.settings.least else 0.0
            waiting_helps = wanted <= self._budget(self._capacity.best) - given
        advice = (
            f"ask for at most {fits:.1f} (options.rate), or let it be lowered (options.on_overload: lower)"
            if fits
            else "remove a stream, or lower the rate of one"
        )
        raise OverloadedError(
            f"stream {definition.name} wants {wanted:g} classifications a second, and there is no room: the "
            f"network takes {measured:.1f}, of which {self.settings.headroom:.0%} are kept free, and "
            f"{given:.1f} are promised; {advice}",
            capacity=round(measured, 1),
            promised=round(given, 1),
            asked=round(wanted, 3),
            fits=round(fits, 1),
            waiting_helps=waiting_helps,
        )

    def adapt(self, streams: Iterable[Stream], measured: float, now: float) -> None:
        """Give every stream its rate, by what the network took at ``now`` (seconds)."""
        with self._lock:
            self._capacity.update(measured, now)
        self.divide(streams)

    def divide(self, streams: Iterable[Stream]) -> None:
        """Give every stream its rate, by the capacity that was measured last, if there is one."""
        with self._lock:
            self._divide(tuple(streams))

    def _divide(self, streams: tuple[Stream, ...]) -> None:
        if self._capacity.value is None:
            return
        budget = self._budget(self._capacity.value)
        demands = [self._demand(stream.definition, stream) for stream in streams]
        self.promised = promised(demands)
        self.demand = sum(demand.asked for demand in demands)
        for stream, demand, rate in zip(streams, demands, grants(demands, budget), strict=True):
            _tell(stream, demand, rate)
        self._note(budget)

    def _note(self, budget: float) -> None:
        overloaded = self.promised > budget + TOLERANCE
        if overloaded and not self._overloaded:
            logger.warning(
                "streams are promised %.1f classifications a second and the network has %.1f to give: "
                "all rates are lowered alike",
                self.promised,
                budget,
            )
        elif self._overloaded and not overloaded:
            logger.info("all streams have the rates again that they were promised")
        self._overloaded = overloaded

    def _budget(self, capacity: float) -> float:
        return capacity * (1 - self.settings.headroom)

    def promise(self, options: StreamOptions) -> float:
        """What a stream holds a claim to: the rate it has named, unless that may be lowered."""
        if options.rate is None:
            return self.settings.least
        if options.on_overload is OnOverload.LOWER:
            return min(options.rate, self.settings.least)
        return options.rate

    def _demand(self, definition: StreamDefinition, stream: Stream) -> Demand:
        status, options = stream.status, definition.options
        if status.state is StreamState.ENDED:
            return Demand(0.0, 0.0)
        claim = self.promise(options)
        # A file has as many frames as it says, at any time; it is played slower where need be.
        fps = stream.announced_fps if status.is_live is False else status.fps
        if options.rate is not None:
            asked = options.rate
            if status.is_live is False and fps is not None:
                asked = min(asked, fps / options.settings.every)
        elif status.state in AWAY or fps is None:
            asked = claim
        else:
            asked = fps / options.settings.every
        return Demand(asked, min(claim, asked))


def _tell(stream: Stream, demand: Demand, rate: float) -> None:
    """Tell a stream its rate, where it has changed; one that gets all it asks for is not held back at all."""
    status = stream.status
    is_held = rate < demand.asked * (1 - TOLERANCE)
    before = stream.pace
    if is_held and before is not None and abs(rate - before) <= SAME * before:
        rate = before
    if (demand.asked, rate) != (status.asked_rate, status.granted_rate) or is_held != (before is not None):
        stream.grant(demand.asked, rate, rate if is_held else None)
