"""Small things to measure, for processes that have to import them; light on purpose."""

from __future__ import annotations

import os
import signal
import time

from service.benchmark.rounds import Reading, repeat
from service.errors import BenchmarkError


class Counting:
    """Counts its rounds: round n has n frames in one second, and half a second of processor time."""

    def __init__(self) -> None:
        self._rounds = 0

    def measure(self, seconds: float) -> Reading:
        self._rounds += 1
        return Reading(self._rounds, 1.0, 0.5)


class Busy:
    """Keeps the processor busy: its wall time and its processor time are about the same."""

    def measure(self, seconds: float) -> Reading:
        return repeat(_turn, seconds)


class Asleep(Busy):
    """Takes time without working."""

    def measure(self, seconds: float) -> Reading:
        return repeat(_nap, seconds)


class Dying(Counting):
    """Its process dies in the second round, warm-up included."""

    def measure(self, seconds: float) -> Reading:
        reading = super().measure(seconds)
        if reading.frames == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return reading


class Stuck(Counting):
    """Never comes back from its second round, warm-up included."""

    def measure(self, seconds: float) -> Reading:
        reading = super().measure(seconds)
        while reading.frames == 2:
            pass
        return reading


class Missing:
    """Cannot be opened."""

    def __init__(self) -> None:
        raise BenchmarkError("nothing of the kind is installed")

    def measure(self, seconds: float) -> Reading:
        raise AssertionError


def work_for_ever() -> None:
    """As a conversion of a large network on a slow machine."""
    time.sleep(600)


def _turn() -> int:
    sum(range(20_000))
    return 1


def _nap() -> int:
    time.sleep(0.02)
    return 1
