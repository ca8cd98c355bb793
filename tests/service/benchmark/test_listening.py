from __future__ import annotations

import os
import signal

import pytest

from service.benchmark import listening
from service.benchmark.listening import Audience
from service.errors import BenchmarkError


def test_listeners_that_die_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed (memory is short with many listeners) costs its own figures only."""
    monkeypatch.setattr(listening, "SETTLE_SECONDS", 0.0)
    with Audience() as audience:
        audience.begin("http://127.0.0.1:1", ("a",), 60.0, subscribers=1, viewers=0)
        for pid in list(audience._pool._processes):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(BenchmarkError, match="has ended"):
            audience.end()
        with pytest.raises(BenchmarkError, match="has ended"):
            audience.begin("http://127.0.0.1:1", ("a",), 1.0, subscribers=1, viewers=0)
