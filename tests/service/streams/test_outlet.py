"""How fast frames come, and how long a stream was watched."""

from __future__ import annotations

import pytest

from service.streams.messages import Measured, Standing
from service.streams.outlet import Meter
from service.types import StreamState

LIVE = Standing(StreamState.LIVE)


def follow(meter: Meter, interval: float, begin: float, end: float) -> list[Measured]:
    """What is told from ``begin`` to ``end`` while a frame comes every ``interval`` seconds."""
    told = []
    for tenth in range(round(10 * begin), round(10 * end)):
        now = tenth / 10
        if tenth % round(10 * interval) == 0:
            meter.arrive(1, now)
        told.append(meter.measure(now, LIVE))
    return [measured for measured in told if measured]


@pytest.mark.parametrize("interval", [0.1, 0.7, 1.0, 2.0, 4.5])
def test_the_rate_of_a_slow_camera_does_not_come_and_go(interval: float) -> None:
    """Counted by the second, one with a frame every two seconds had 0 and 1 in turn."""
    told = follow(Meter(0.0), interval, 0.0, 20.0)
    known = [measured.fps for measured in told if measured.fps is not None]
    assert len(told) - len(known) <= interval
    assert known == pytest.approx([1 / interval] * len(known))


def test_the_rate_of_a_camera_that_falls_silent_falls() -> None:
    """And is forgotten with the connection: the next one may be to another camera."""
    meter = Meter(0.0)
    follow(meter, 0.1, 0.0, 5.0)
    silent = follow(meter, 100.0, 5.0, 9.0)
    assert [measured.fps for measured in silent] == pytest.approx([10, 1 / 1.1, 1 / 2.1, 1 / 3.1])
    lost = meter.measure(10.0, Standing(StreamState.LOST, "it is gone"))
    assert lost
    assert (lost.fps, meter.interval) == (0.0, None)
    again = follow(meter, 2.0, 20.0, 26.0)
    assert [measured.fps for measured in again] == [None, None, 0.5, 0.5, 0.5, 0.5]
