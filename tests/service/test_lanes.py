"""Batches run beside the thread that serves: side by side where the engine can, finished in order."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.inference.lanes import Lanes
from service.inference.queueing import Priority, Ticket

PATIENCE = 20.0


class Gates:
    """An engine of which each input waits for a gate of its own; tells what it has begun with."""

    def __init__(self, count: int) -> None:
        self.open = [threading.Event() for _ in range(count)]
        self.begun = [threading.Event() for _ in range(count)]

    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        number = int(inputs[0, 0])
        self.begun[number].set()
        assert self.open[number].wait(PATIENCE)
        if number == 9:
            raise RuntimeError("the device is lost")
        return inputs.astype(np.float32)


def ticket(number: int) -> Ticket:
    return Ticket(number, Priority.LIVE, 0, 0.0)


def begin(lanes: Lanes, number: int) -> None:
    lanes.begin([ticket(number)], np.full((1, 1), number, np.uint8))


def numbers(lanes: Lanes) -> list[int]:
    return [run.batch[0].client for run in lanes.finished()]


def readable(lanes: Lanes, seconds: float = PATIENCE) -> bool:
    return bool(select.select([lanes], [], [], seconds)[0])


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates(10)
    yield gates
    for gate in gates.open:
        gate.set()


def test_a_free_lane_begins_while_another_is_busy(gates: Gates) -> None:
    """The third batch begins when the second is done, though the first is not; all are finished in order."""
    lanes = Lanes(gates.encode, 2)
    assert lanes.waiting_since is None
    begin(lanes, 0)
    assert (lanes.busy, lanes.is_free) == (1, True)
    begin(lanes, 1)
    assert not lanes.is_free
    assert not readable(lanes, 0)
    assert gates.begun[0].wait(PATIENCE)
    gates.open[1].set()
    assert readable(lanes)
    assert numbers(lanes) == []
    assert lanes.is_free
    begin(lanes, 2)
    assert gates.begun[2].wait(PATIENCE)
    gates.open[2].set()
    assert readable(lanes)
    assert numbers(lanes) == []
    assert lanes.waiting_since is not None
    gates.open[0].set()
    assert readable(lanes)
    finished = list(lanes.finished())
    assert [run.batch[0].client for run in finished] == [0, 1, 2]
    assert [run.together for run in finished] == [2, 2, 2]
    assert [run.result()[0].tolist() for run in finished] == [[[0.0]], [[1.0]], [[2.0]]]
    assert finished[0].result()[1] > finished[2].result()[1] > 0  # which ran within the time of the first
    assert not readable(lanes, 0)
    lanes.close()


def test_an_engine_that_fails_is_heard_of(gates: Gates) -> None:
    """What it raised comes with its batch; what had begun before it is not lost."""
    lanes = Lanes(gates.encode, 2)
    begin(lanes, 3)
    begin(lanes, 9)
    gates.open[9].set()
    gates.open[3].set()
    first, second = lanes.rest()
    assert first.result()[0].tolist() == [[3.0]]
    with pytest.raises(RuntimeError, match="device is lost"):
        second.result()
    lanes.close()


def test_closing_waits_and_starts_nothing_more(gates: Gates) -> None:
    """A batch that waits for a lane is given up, one that runs is not torn away from its engine."""
    lanes = Lanes(gates.encode, 1)
    begin(lanes, 0)
    begin(lanes, 1)
    assert gates.begun[0].wait(PATIENCE)
    opening = threading.Timer(0.05, gates.open[0].set)
    opening.start()
    lanes.close()
    opening.join()
    assert not gates.begun[1].is_set()


def test_closed_lanes_leave_no_descriptor() -> None:
    """A service that loads its network anew, time and again, does not run out of them."""
    before = len(os.listdir("/proc/self/fd"))
    Lanes(Gates(1).encode, 2).close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_batches_that_are_quick_count_as_run_together(gates: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where both are through before the one who began them has looked again."""
    lanes = Lanes(gates.encode, 2)
    begin(lanes, 0)
    submit = lanes._threads.submit

    def submit_and_wait(*work: Any) -> Any:
        outcome = submit(*work)
        for number in (0, 1):
            gates.open[number].set()
        outcome.result(PATIENCE)
        return outcome

    monkeypatch.setattr(lanes._threads, "submit", submit_and_wait)
    begin(lanes, 1)
    assert [run.together for run in lanes.rest()] == [2, 2]
    lanes.close()
