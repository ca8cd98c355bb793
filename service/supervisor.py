"""Starts processes, watches them from outside, and starts them again when they crash or hang.

One thread does all of it. It also starts the processes, because a child dies with the thread that started
it (see ``child``): should the supervisor end in any way, kill -9 included, so do its children.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import SpawnProcess
from typing import Final, Self

from service import logs
from service.backoff import Backoff
from service.child import BEAT, FAILED, MESSAGE_BYTES, READY, run_child
from service.errors import ConfigurationError

TICK: Final = 1.0
"""Seconds between two looks at all children at most."""
KILL_GRACE: Final = 2.0
"""Seconds that the kernel is given to end a killed process."""

logger = logging.getLogger(__name__)
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A process to keep running: ``main(child, *args)``, picklable, with a ``child.Child`` first.

    It calls ``child.ready()`` within ``start_timeout`` seconds and ``child.beat()`` at least every
    ``beat_timeout`` seconds (1 or more) from then on. Returning ends it for good; raising, dying,
    silence or a SIGTERM that did not come from here has it started again after a wait.

    ``open_channel``, if given, is called before each start; what it returns is handed to ``main`` as its
    last argument and closed in the parent, so that the other end notices when the process is gone.

    ``on_change``, if given, is told every new status, in the order of events, by the supervisor's own
    thread; it must be quick and must not call back.
    """

    name: str
    main: Callable[..., None]
    args: tuple[object, ...] = ()
    open_channel: Callable[[], Connection] | None = None
    on_change: Callable[[ChildStatus], None] | None = None
    start_timeout: float = 120.0
    beat_timeout: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)


class ChildState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """What is known of a child.

    ``attempt`` numbers the last failure among those in close succession, ``failures`` counts all; ``reason``
    is that of the last.
    ``next_try_at`` (``time.monotonic()`` seconds) is set while it waits to be started again.
    """

    name: str
    state: ChildState
    pid: int | None = None
    attempt: int = 0
    failures: int = 0
    reason: str | None = None
    next_try_at: float | None = None


class Supervisor:
    """Keeps the processes that it is given running; a context manager that stops them."""

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._children: dict[str, _Watched] = {}
        self._changed = threading.Condition()
        self._close_by: float | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._looked_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def start(self, spec: ChildSpec) -> None:
        """Start a process and keep it running. Raises ConfigurationError if the name is taken."""
        with self._changed:
            if self._close_by is not None or spec.name in self._children:
                raise ConfigurationError(
                    f"a process named {spec.name!r} is there already, or all are being stopped"
                )
            self._children[spec.name] = _Watched(spec, ChildStatus(spec.name, ChildState.WAITING))
        self._wake()

    def stop(self, name: str, timeout: float = 1.5) -> None:
        """Stop a process and forget it: SIGTERM, and SIGKILL after ``timeout`` seconds. No-op if unknown.

        Returns when it is gone. One that not even SIGKILL ends (stuck in a device driver) is left
        listed as stopping after another ``KILL_GRACE`` seconds.
        """
        self._stop([name], timeout)

    def status(self, name: str) -> ChildStatus | None:
        """What is known of a process; None if there is none of that name."""
        watched = self._children.get(name)  # not under the lock, which is held while processes are started
        return watched.status if watched else None

    def close(self, timeout: float = 8.0) -> None:
        """Stop all processes within one shared ``timeout``, then the supervisor itself."""
        with self._changed:
            self._close_by = time.monotonic() + timeout + KILL_GRACE
            names = list(self._children)
        self._stop(names, timeout)
        self._thread.join(KILL_GRACE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _stop(self, names: list[str], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            stopped = [self._children[name] for name in names if name in self._children]
            for watched in stopped:
                watched.stop_by = min(watched.stop_by or deadline, deadline)
            self._wake()
            self._changed.wait_for(
                lambda: not any(watched is self._children.get(watched.spec.name) for watched in stopped),
                timeout + KILL_GRACE,
            )

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake up anyway; closed: nobody is left to wake
            self._wake_writer.send(b"w")

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    changes = self._look(time.monotonic())
                    self._changed.notify_all()
                    waitables = [item for child in self._children.values() for item in child.waitables()]
                    due = min((child.due_at() for child in self._children.values()), default=None)
                    close_by = self._close_by
                for spec, status in changes:
                    _report(spec, status)
                now = time.monotonic()
                if close_by is not None and (due is None or now >= close_by):
                    return
                timeout = TICK if due is None else min(TICK, max(0.0, due - now))
                wait_for_any([self._wake_reader, *waitables], timeout)
                with contextlib.suppress(BlockingIOError):
                    self._wake_reader.recv(4096)
        finally:
            self._wake_reader.close()
            self._wake_writer.close()

    def _look(self, now: float) -> list[tuple[ChildSpec, ChildStatus]]:
        """Bring every child up to date; return what has changed. Called with the lock held."""
        # While this process itself did not run (paused container, debugger), no child could be heard.
        gap = now - self._looked_at
        self._looked_at = now
        changes = []
        for name, child in list(self._children.items()):
            before = child.status
            if gap > 2 * TICK:
                child.heard_at += gap
            try:
                gone = child.look(now, self._chance)
            except Exception as error:  # one child's trouble must not cost the others their guardian
                logger.exception("looking after %s failed", name)
                child.trip(f"{type(error).__name__}: {error}", now, self._chance)
                gone = False
            if child.status != before:
                changes.append((child.spec, child.status))
            if gone:
                del self._children[name]
        return changes


@dataclass(slots=True)
class _Watched:
    """A child as the supervisor's thread sees it; others only read ``status`` and set ``stop_by``."""

    spec: ChildSpec
    status: ChildStatus
    stop_by: float | None = None
    heard_at: float = field(default_factory=time.monotonic)
    started_at: float = 0.0
    process: SpawnProcess | None = None
    channel: socket.socket | None = None
    patience: float = float("inf")
    told: str | None = None
    """Why the current process fails, in its own words or in ours when we kill it."""

    def waitables(self) -> list[int | socket.socket]:
        """What becomes readable when there is something new."""
        ended = [self.process.sentinel] if self.process else []
        return [*ended, *([self.channel] if self.channel else [])]

    def due_at(self) -> float:
        """When to look again even if nothing becomes readable (``time.monotonic()`` seconds)."""
        if self.stop_by is not None and self.status.state is not ChildState.STOPPING:
            return 0.0
        match self.status.state:
            case ChildState.STARTING:
                return self.heard_at + self.spec.start_timeout
            case ChildState.RUNNING:
                return self.heard_at + min(self.spec.beat_timeout, self.patience)
            case ChildState.WAITING:
                return self.status.next_try_at or 0.0
            case ChildState.STOPPING:
                return self.stop_by or 0.0
            case ChildState.ENDED:
                return float("inf")

    def look(self, now: float, chance: Callable[[], float]) -> bool:
        """Hear the child, judge it, act; return whether it is stopped and can be forgotten."""
        self._hear(now)
        if self.process and not self.process.is_alive():
            self._bury(now, chance)
        if self.stop_by is not None:
            return self._stop(now, self.stop_by)
        if self.process and now >= self.due_at():
            starting = self.status.state is ChildState.STARTING
            limit = self.spec.start_timeout if starting else min(self.spec.beat_timeout, self.patience)
            self.told = f"{'not ready' if starting else 'no sign of life'} for {limit:g} s"
            self.process.kill()
            self.heard_at = now + KILL_GRACE  # the next look after the kill, not before
        elif self.status.state is ChildState.WAITING and now >= self.due_at():
            self._start(now, chance)
        return False

    def trip(self, reason: str, now: float, chance: Callable[[], float]) -> None:
        """Go on after a fault of our own: kill what is there, which is then buried, or try again later."""
        self.heard_at = now + KILL_GRACE
        if self.process:
            self.process.kill()
        else:
            self._fail(reason, now, chance)

    def _start(self, now: float, chance: Callable[[], float]) -> None:
        self.started_at = self.heard_at = now
        extra: tuple[Connection, ...] = ()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._fail(f"cannot start: {error}", now, chance)
            return
        try:
            ours.setblocking(False)
            if self.spec.open_channel:
                extra = (self.spec.open_channel(),)
            process = _spawn.Process(
                target=run_child,
                args=(os.getpid(), theirs, logs.chosen(), self.spec.main, (*self.spec.args, *extra)),
                name=self.spec.name,
                daemon=True,
            )
            process.start()
        except Exception as error:  # out of processes or memory, or the work cannot be pickled
            ours.close()
            self._fail(f"cannot start: {type(error).__name__}: {error}", now, chance)
            return
        finally:
            theirs.close()
            for end in extra:
                end.close()
        self.process, self.channel, self.told = process, ours, None
        self.patience = float("inf")
        self._show(ChildState.STARTING, pid=process.pid)

    def _hear(self, now: float) -> None:
        while self.channel:
            try:
                message = self.channel.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            kind, text = message[:1], message[1:]
            if not message:
                self.channel.close()
                self.channel = None
            elif kind == FAILED:
                self.told = text.decode(errors="replace")
            elif kind == READY and self.status.state is ChildState.STARTING:
                self.heard_at = now
                self._show(ChildState.RUNNING, pid=self.status.pid)
            elif kind == BEAT and self.status.state is ChildState.RUNNING:
                self.heard_at = now
                self.patience = _seconds(text)

    def _bury(self, now: float, chance: Callable[[], float]) -> None:
        assert self.process
        self.process.join()
        self._hear(now)
        code = self.process.exitcode
        self.process.close()
        self.process = None
        if self.channel:
            self.channel.close()
            self.channel = None
        if self.stop_by is not None:
            return
        if code == 0:
            self._show(ChildState.ENDED)
        elif code is not None and code < 0:
            self._fail(self.told or f"killed by {_signal_name(-code)}", now, chance)
        else:
            self._fail(self.told or f"exit status {code}", now, chance)

    def _fail(self, reason: str, now: float, chance: Callable[[], float]) -> None:
        backoff = self.spec.backoff
        attempt = backoff.attempt(self.status.attempt, now - self.started_at)
        self.status = ChildStatus(
            self.spec.name,
            ChildState.WAITING,
            attempt=attempt,
            failures=self.status.failures + 1,
            reason=reason,
            next_try_at=now + backoff.delay(attempt, chance()),
        )

    def _stop(self, now: float, stop_by: float) -> bool:
        if self.process is None:
            self._show(ChildState.ENDED)
            return True
        if self.status.state is not ChildState.STOPPING:
            self.process.terminate()
            self._show(ChildState.STOPPING, pid=self.status.pid)
        if now >= stop_by:
            self.process.kill()
            self.stop_by = now + KILL_GRACE
        return False

    def _show(self, state: ChildState, pid: int | None = None) -> None:
        was = self.status
        self.status = ChildStatus(self.spec.name, state, pid, was.attempt, was.failures, was.reason)


def _report(spec: ChildSpec, status: ChildStatus) -> None:
    if status.state is ChildState.WAITING:
        logger.warning("process %r ended: %s", spec.name, status.reason)
    if spec.on_change:
        try:
            spec.on_change(status)
        except Exception:  # whoever listens must not cost every process its life
            logger.exception("a listener failed on %s", status)


def _seconds(text: bytes) -> float:
    """What a child says of its next beat; a second at least, as its parent may be late itself."""
    try:
        return max(1.0, float(text)) if text else float("inf")
    except ValueError:  # a child that has gone astray must not take its supervisor along
        return float("inf")


def _signal_name(number: int) -> str:
    """Real-time signals have none.

    >>> _signal_name(9), _signal_name(40)
    ('SIGKILL', 'signal 40')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
