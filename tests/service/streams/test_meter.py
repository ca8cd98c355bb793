"""How fast frames come and are classified, and how long a stream was watched."""

from __future__ import annotations

import pytest

from service.streams.messages import Measured, Standing
from service.streams.meter import Meter
from service.types import StreamState

LIVE = Standing(StreamState.LIVE)


def follow(meter: Meter, interval: float, begin: float, end: float) -> list[Measured]:
    """What is told from ``begin`` to ``end`` while a frame comes every ``interval`` seconds."""
    told = []
    for tenth in range(round(10 * begin), round(10 * end)):
        now = tenth / 10
        if tenth % round(10 * interval) == 0:
            meter.frames.come(1, now)
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
    assert (lost.fps, meter.frames.interval) == (0.0, None)
    again = follow(meter, 2.0, 20.0, 26.0)
    assert [measured.fps for measured in again] == [None, None, 0.5, 0.5, 0.5, 0.5]


def test_a_pause_of_the_process_was_not_watched() -> None:
    """A container that is paused for an hour sees nothing meanwhile, whatever its last state was."""
    meter = Meter(0.0)
    assert sum(measured.seconds_watched for measured in follow(meter, 0.1, 0.0, 5.0)) == pytest.approx(4.0)
    woken = meter.measure(3600.0, LIVE)
    assert woken
    assert (woken.seconds_watched, woken.seconds_dropped) == (pytest.approx(0.9), 0.0)


def test_a_steady_rate_of_classifications_is_told_as_one() -> None:
    """Counted from one look to the next, five a second were 4 and 6 in turn; and none is soon none."""
    meter, told = Meter(0.0), []
    for step in range(200):  # looks fall between classifications, by a little more than a second each
        now = step * 0.15
        while now < 20 and meter.classified.count < now / 0.2:
            meter.classified.come(1, meter.classified.count * 0.2)
        told.append(meter.measure(now, LIVE))
    rates = [measured.classified_fps for measured in told if measured]
    assert rates[:18] == pytest.approx([5.0] * 18)
    assert rates[-1] < 0.2
    lost = meter.measure(40.0, Standing(StreamState.LOST, "it is gone"))
    assert lost
    assert (lost.classified_fps, lost.classified) == (0.0, 100)
