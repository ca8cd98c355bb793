"""Supervision with real processes that crash, hang, end, refuse to end, and lose their parent."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from service import supervisor
from service.backoff import Backoff
from service.errors import ConfigurationError
from service.supervisor import ChildSpec, ChildState, ChildStatus, Supervisor
from tests.service.children import (
    QUICK,
    beat_until_told_to_hang,
    end,
    fail,
    fall_silent,
    idle,
    is_alive,
    wait_until,
)
from tests.service.live import TIMED


class Watch:
    """A supervisor and all that it has reported."""

    def __init__(self) -> None:
        self.history: list[ChildStatus] = []
        self.supervisor = Supervisor(chance=lambda: 0.0)

    def start(self, spec: ChildSpec) -> None:
        self.supervisor.start(replace(spec, on_change=self.history.append))

    def state(self, name: str) -> ChildState | None:
        status = self.supervisor.status(name)
        return status.state if status else None

    def pid(self, name: str) -> int:
        """The number of the process once it is running."""
        wait_until(lambda: self.state(name) is ChildState.RUNNING)
        status = self.supervisor.status(name)
        assert status
        assert status.pid
        return status.pid

    def failures(self, name: str) -> list[ChildStatus]:
        return [s for s in self.history if s.name == name and s.state is ChildState.WAITING]


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.supervisor.close(timeout=1.0)


@pytest.mark.parametrize(
    ("attempt", "chance", "expected"),
    [
        (1, 0.0, 1.0),
        (2, 0.0, 2.0),
        (3, 0.0, 4.0),
        (4, 0.0, 5.0),
        (10**6, 0.0, 5.0),
        (3, 0.5, 3.0),
        (9, 0.99, 2.525),
    ],
)
def test_backoff_doubles_up_to_a_limit(attempt: int, chance: float, expected: float) -> None:
    """Waits grow, never beyond the limit nor with the number of failures, and chance only shortens them."""
    backoff = Backoff(first=1.0, limit=5.0, jitter=0.5)
    assert backoff.delay(attempt, chance) == pytest.approx(expected)


def test_no_descriptor_left_is_one_failure(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors a process is not started, but tried again, and the others are still looked after."""
    watch.start(ChildSpec("first", idle, backoff=QUICK))
    pid = watch.pid("first")

    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(supervisor.socket, "socketpair", none_left)
        watch.start(ChildSpec("second", idle, backoff=QUICK))
        wait_until(lambda: watch.failures("second"))
    assert "Too many open files" in str(watch.failures("second")[0].reason)
    watch.pid("second")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: watch.failures("first"))
    assert watch.pid("first") != pid


def test_a_sigterm_of_others_is_a_failure(watch: Watch) -> None:
    """Whoever ends a process from outside ends no stream: it comes back, and why it was away is told."""
    watch.start(ChildSpec("first", idle, backoff=QUICK))
    pid = watch.pid("first")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: watch.failures("first"))
    assert watch.failures("first")[0].reason == "ended by SIGTERM"
    assert watch.pid("first") != pid


def test_a_signal_without_a_name(watch: Watch) -> None:
    """Real-time signals have none."""
    watch.start(ChildSpec("first", idle, backoff=QUICK))
    os.kill(watch.pid("first"), 40)
    wait_until(lambda: watch.failures("first"))
    assert watch.failures("first")[0].reason == "killed by signal 40"


def test_backoff_forgets_after_a_healthy_run() -> None:
    """What failed long ago does not delay the restart after a rare crash."""
    backoff = Backoff(healthy_after=30)
    assert (backoff.attempt(7, 29.9), backoff.attempt(7, 30.0)) == (8, 1)


def test_killed_and_hung_children_come_back_alone(watch: Watch, tmp_path: Path) -> None:
    """A crash, a stopped process and a silent one are each replaced with the reason told, others unharmed."""
    order = tmp_path / "hang"
    watch.start(ChildSpec("healthy", idle))
    watch.start(ChildSpec("sick", beat_until_told_to_hang, (str(order),), beat_timeout=1.0, backoff=QUICK))
    healthy, killed = watch.pid("healthy"), watch.pid("sick")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: watch.failures("sick"))
    stopped = watch.pid("sick")
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: len(watch.failures("sick")) == 2)
    watch.pid("sick")
    order.touch()
    wait_until(lambda: len(watch.failures("sick")) == 3)
    last = watch.pid("sick")
    assert [(s.attempt, s.reason) for s in watch.failures("sick")] == [
        (1, "killed by SIGKILL"),
        (2, "no sign of life for 1 s"),
        (3, "no sign of life for 1 s"),
    ]
    assert len({killed, stopped, last}) == 3
    assert not is_alive(killed)
    assert not is_alive(stopped)
    assert watch.pid("healthy") == healthy
    assert not watch.failures("healthy")


def test_crash_loop_is_visible(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """Someone can see that a process keeps failing, why in its own words, and when it is tried next.

    The log has it too, whether anybody else listens or not.
    """
    watch.supervisor.start(ChildSpec("unheard", fail, ("no camera",), backoff=QUICK))
    watch.start(ChildSpec("broken", fail, ("no weights",), backoff=QUICK))
    wait_until(lambda: len(watch.failures("broken")) >= 3)
    first, _, third = watch.failures("broken")[:3]
    assert third.reason == "ValueError: no weights"
    assert (third.attempt, third.failures) == (3, 3)
    assert first.next_try_at
    assert third.next_try_at
    assert first.next_try_at < time.monotonic() + QUICK.limit
    assert third.next_try_at > first.next_try_at
    wait_until(lambda: "process 'unheard' ended: ValueError: no camera" in caplog.text)
    assert "process 'broken' ended: ValueError: no weights" in caplog.text


def test_a_start_that_takes_its_time_holds_up_nobody_who_asks(watch: Watch) -> None:
    """Whether the service is ready is asked by what restarts it: a slow machine must not look dead."""
    begun, go = threading.Event(), threading.Event()

    def open_channel() -> Connection:
        begun.set()
        go.wait(60)
        raise OSError("no channel")

    watch.start(ChildSpec("slow", idle, open_channel=open_channel, backoff=QUICK))
    assert begun.wait(60)
    with ThreadPoolExecutor(1) as asking:
        try:
            assert asking.submit(watch.state, "slow").result(10) is ChildState.WAITING
        finally:
            go.set()


def test_slow_start_is_bounded(watch: Watch) -> None:
    """A process that hangs before it is ready is not waited for without end."""
    watch.start(ChildSpec("slow", fall_silent, start_timeout=0.2, backoff=QUICK))
    wait_until(lambda: watch.failures("slow"))
    assert watch.failures("slow")[0].reason == "not ready for 0.2 s"


def test_work_that_cannot_be_sent_is_a_failure_like_others(watch: Watch) -> None:
    """A mistake in what is to be run shows as a status, and the supervisor lives on."""
    watch.start(ChildSpec("unpicklable", idle, (lambda: None,), backoff=QUICK))
    wait_until(lambda: watch.failures("unpicklable"))
    assert "cannot start" in str(watch.failures("unpicklable")[0].reason)
    watch.start(ChildSpec("other", idle))
    watch.pid("other")


def test_a_failing_listener_harms_no_process(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in whoever shows the states must not take the streams down."""

    def listen(status: ChildStatus) -> None:
        raise LookupError(status.name)

    with Supervisor() as supervisor:
        supervisor.start(ChildSpec("a", idle, on_change=listen))
        wait_until(lambda: (s := supervisor.status("a")) and s.state is ChildState.RUNNING)
    assert "LookupError: a" in caplog.text


def test_normal_end_is_final(watch: Watch) -> None:
    """A stream whose file is done is not played again; its name is free only once it has been stopped."""
    watch.start(ChildSpec("clip", end))
    wait_until(lambda: watch.state("clip") is ChildState.ENDED)
    with pytest.raises(ConfigurationError, match="clip"):
        watch.start(ChildSpec("clip", end))
    watch.supervisor.stop("clip")
    assert watch.state("clip") is None
    assert not watch.failures("clip")


@TIMED
def test_stop_lets_children_finish_but_not_for_ever(watch: Watch, tmp_path: Path) -> None:
    """One deadline for all: who listens finishes the work, who does not is killed; Ctrl-C is the parent's."""
    notes = tmp_path / "notes"
    watch.start(ChildSpec("tidy", idle, (str(notes),)))
    watch.start(ChildSpec("deaf", beat_until_told_to_hang, (str(tmp_path / "never"),)))
    watch.start(ChildSpec("deaf too", beat_until_told_to_hang, (str(tmp_path / "never"),)))
    pids = [watch.pid(name) for name in ("tidy", "deaf", "deaf too")]
    for pid in pids:
        os.kill(pid, signal.SIGINT)
    start = time.monotonic()
    watch.supervisor.close(timeout=1.0)
    assert 0.9 < time.monotonic() - start < 2.5
    assert notes.read_text() == "finished"
    assert not any(is_alive(pid) for pid in pids)


@TIMED
def test_stop_in_any_state_is_quick(watch: Watch) -> None:
    """Removing a stream does not wait for its start-up, its crash loop, or a process that does not exist."""
    watch.start(ChildSpec("starting", fall_silent))
    watch.start(ChildSpec("broken", fail, ("always",), backoff=Backoff(first=60, limit=60)))
    wait_until(lambda: watch.state("starting") is ChildState.STARTING)
    wait_until(lambda: watch.failures("broken"))
    start = time.monotonic()
    for name in ("starting", "broken", "unknown"):
        watch.supervisor.stop(name, timeout=0.5)
    assert time.monotonic() - start < 2.0
    assert watch.state("starting") is watch.state("broken") is None


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Months of adding and removing streams cost no descriptor, thread or shared memory."""

    def cycle() -> None:
        with Supervisor() as supervisor:
            supervisor.start(ChildSpec("a", idle))
            supervisor.start(ChildSpec("b", fail, ("soon",), backoff=QUICK))
            wait_until(lambda: (status := supervisor.status("b")) and status.failures >= 2)
            wait_until(lambda: (status := supervisor.status("a")) and status.state is ChildState.RUNNING)

    def left() -> tuple[int, int, int]:
        shared = Path("/proc/self/maps").read_text().count("/dev/shm/")
        return len(os.listdir("/proc/self/fd")), threading.active_count(), shared

    cycle()  # the first one starts the resource tracker of multiprocessing, which stays
    before = left()
    cycle()
    assert all(now <= then for now, then in zip(left(), before, strict=True))


def test_children_do_not_load_the_program(tmp_path: Path) -> None:
    """A stream's process imports what it works with, not the command line that the service was started by."""
    script = tmp_path / "program"
    script.write_text(
        "import multiprocessing, sys, wave  # stands for what only the program needs\n"
        "from service.child import spare_children_the_program\n"
        "from tests.service.children import tell_of_module\n"
        "if __name__ == '__main__':\n"
        "    if 'spared' in sys.argv: spare_children_the_program()\n"
        "    child = multiprocessing.get_context('spawn').Process(target=tell_of_module, args=('wave',))\n"
        "    child.start(); child.join(); sys.exit(child.exitcode)\n"
    )
    for arguments, told in (([], "True"), (["spared"], "False")):
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert done.stdout.split() == [told]


def test_a_pause_of_the_service_is_no_silence_of_others(watch: Watch, tmp_path: Path) -> None:
    """After it was stopped for a while (a debugger, a paused container) it gives its children their time."""
    order = tmp_path / "fall silent"
    watch.start(ChildSpec("quiet", beat_until_told_to_hang, (str(order),), beat_timeout=30.0))
    pid = watch.pid("quiet")
    order.touch()
    wait_until(lambda: not order.exists())
    with watch.supervisor._changed:
        watch.supervisor._look(time.monotonic())
        watch.supervisor._look(time.monotonic() + 60)
        assert watch.supervisor._children["quiet"].told is None
    os.kill(pid, signal.SIGKILL)


def test_a_second_stop_does_not_put_off_the_first(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was to be gone by a deadline is, however patient the next one is who asks for it."""
    watch.start(ChildSpec("deaf", beat_until_told_to_hang, (str(tmp_path / "never"),)))
    pid = watch.pid("deaf")
    deaf = watch.supervisor._children["deaf"]
    with monkeypatch.context() as patch:
        patch.setattr(watch.supervisor._changed, "wait_for", lambda *_: True)
        deadlines = []
        for timeout in (30.0, 60.0, 20.0):
            watch.supervisor.stop("deaf", timeout)
            deadlines.append(deaf.stop_by)
    os.kill(pid, signal.SIGKILL)
    first, second, third = deadlines
    assert first is not None
    assert third is not None
    assert second == first > third


@pytest.mark.parametrize(
    ("text", "seconds"), [(b"7.5", 7.5), (b"0.01", 1.0), (b"-1", 1.0), (b"", math.inf), (b"soon", math.inf)]
)
def test_a_child_cannot_promise_too_much(text: bytes, seconds: float) -> None:
    """Its supervisor looks once a second: who promises to be heard sooner is not killed for that."""
    assert supervisor._seconds(text) == seconds
