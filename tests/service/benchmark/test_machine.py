from __future__ import annotations

import psutil
import pytest

from service.benchmark import machine
from service.benchmark.machine import BusyWatch, Usage
from service.engines import devices


def test_cores_are_those_of_the_engines() -> None:
    """A container's quota counts here as it does where threads are set: what is allowed is one number."""
    assert machine.cores is devices.cores
    assert machine.describe()["cores"] == devices.cores()


@pytest.mark.parametrize(("own_seconds", "share"), [(0.0, 0.4), (1e6, 1.0)])
def test_whoever_keeps_the_machine_busy(
    monkeypatch: pytest.MonkeyPatch, own_seconds: float, share: float
) -> None:
    """Other programs count; in a container with a small quota, so does what the benchmark takes of that."""
    used = iter([0.0, own_seconds])
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 40.0)
    monkeypatch.setattr(machine, "usage_of", lambda pid, shares: Usage(next(used), 0, 0))
    assert BusyWatch().share() == share
