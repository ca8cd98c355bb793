from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from service.benchmark.rounds import (
    Candidate,
    Reading,
    Rounds,
    Worker,
    interleave,
    run_rounds,
)
from service.errors import BenchmarkError
from tests.service.api.conftest import until
from tests.service.benchmark.subjects import Asleep, Busy, Counting, Dying, Missing, Stuck
from tests.service.program import ROOT, alive, descendants


class Player:
    """Answers from a list, and notes its name at every turn."""

    def __init__(self, name: str, rates: list[int], turns: list[str]) -> None:
        self.name = name
        self._rates = iter(rates)
        self._turns = turns
        self.is_closed = False

    def measure(self, seconds: float) -> Reading:
        self._turns.append(self.name)
        rate = next(self._rates)
        if not rate:
            raise BenchmarkError("broken")
        return Reading(rate, 1.0, 0.5)

    def close(self) -> None:
        self.is_closed = True


def test_rounds_are_interleaved() -> None:
    """Every candidate has its turn in every round, and none is always first or always follows the same."""
    turns: list[str] = []
    interleave([Player(name, [1] * 3, turns) for name in "abc"], 3, 1.0, Rounds())
    assert turns == list("abc" + "bca" + "cab")


def test_ratio_is_taken_round_by_round() -> None:
    """What slows a whole round cancels out: only rates of the same round are compared."""
    rounds = Rounds()
    players = [Player("base", [10, 2, 10], []), Player("fast", [40, 8, 50], [])]
    interleave(players, 3, 1.0, rounds)
    ratio = rounds.ratio("fast", "base")
    assert ratio is not None
    assert (ratio.least, ratio.median, ratio.most, ratio.n) == (4, 4, 5, 3)
    assert rounds.fps("fast").median == 40
    assert rounds.core_seconds("base").median == 0.05
    assert rounds.wall_seconds("base").most == 0.5
    assert rounds.ratio("fast", "nobody") is None


def test_one_that_breaks_stays_out() -> None:
    """A candidate that fails keeps what it had, is told with its reason, and holds up nobody."""
    rounds, turns = Rounds(), list[str]()
    good, bad = Player("good", [1] * 4, turns), Player("bad", [1, 0], turns)
    interleave([good, bad], 4, 1.0, rounds)
    assert bad.is_closed
    assert not good.is_closed
    assert rounds.skipped == {"bad": "broken"}
    assert [len(rounds.readings[name]) for name in ("good", "bad")] == [4, 1]
    assert turns.count("bad") == 2


def test_interruption_keeps_what_there_is() -> None:
    """Ctrl-C in the middle of a round loses that measurement only."""
    rounds = Rounds()

    def interrupt(name: str) -> None:
        if len(rounds.readings.get("a", ())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interleave([Player("a", [1] * 9, [])], 9, 1.0, rounds, interrupt)
    assert len(rounds.readings["a"]) == 2


def test_candidates_in_processes_of_their_own() -> None:
    """Warm-up does not count; what cannot be opened, or dies, is told; memory is that of the process."""
    rounds = Rounds()
    makers: dict[str, Callable[[], Counting | Missing]] = {
        "good": Counting,
        "missing": Missing,
        "dying": Dying,
    }
    run_rounds([Candidate(name, make) for name, make in makers.items()], 2, 0.01, rounds)
    assert [reading.frames for reading in rounds.readings["good"]] == [2, 3]
    assert rounds.skipped["missing"] == "nothing of the kind is installed"
    assert "its process ended (status -9)" in rounds.skipped["dying"]
    assert set(rounds.readings) == {"good"}
    assert rounds.peak_memory["good"] > 1 << 20


def test_one_that_died_between_its_rounds() -> None:
    """A process that the system killed while it slept is told of like one that dies at work."""
    worker = Worker("gone", Counting)
    try:
        worker.wait()
        worker._process.kill()
        worker._process.join()
        with pytest.raises(BenchmarkError, match=r"its process ended \(status -9\)"):
            worker.measure(0.01)
    finally:
        worker.close()


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late one would keep its cores busy beside all that is measured after it."""
    monkeypatch.setattr("service.benchmark.rounds.MEASURE_SECONDS", 1.0)
    worker, rounds = Worker("stuck", Stuck), Rounds()
    try:
        worker.wait()
        interleave([worker], 3, 0.01, rounds)
        assert "no answer within" in rounds.skipped["stuck"]
        assert len(rounds.readings["stuck"]) == 1
        assert worker._process.exitcode == -9
    finally:
        worker.close()


def test_work_ends_with_an_interruption() -> None:
    """Ctrl-C and SIGTERM need not wait until a network has been converted."""
    code = (
        "from service.benchmark.rounds import in_own_process\n"
        "from tests.service.benchmark.subjects import work_for_ever\n"
        "in_own_process(work_for_ever)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as program:
        until(lambda: descendants(program.pid), 60)
        working = descendants(program.pid)
        program.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in program.communicate(timeout=60)[1]
    until(lambda: not alive(working), 60)


def test_processor_time_is_not_wall_time() -> None:
    """A stage that waits costs no core: that is what the allowance is reckoned from."""
    rounds = Rounds()
    run_rounds([Candidate("busy", Busy), Candidate("asleep", Asleep)], 1, 0.3, rounds)
    busy, asleep = (rounds.readings[name][0] for name in ("busy", "asleep"))
    assert asleep.cpu_seconds < 0.5 * asleep.seconds
    assert busy.cpu_seconds / busy.seconds > asleep.cpu_seconds / asleep.seconds
    assert busy.frames > 1
