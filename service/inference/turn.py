"""Which of two processes serves: the one that holds a lock, which the kernel takes from a dead process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import threading
import time
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Final, Self

from service.child import Child

STANDBY_DELAY: Final = 10.0
LOOK_EVERY: Final = 0.2
NICENESS: Final = 10
_CAP_SYS_NICE: Final = 1 << 23


class Turn:
    """A POSIX record lock on a file without a name. Made by the parent; handed over when a process starts.

    The lock belongs to the process, and goes when that ends in any way: its successor, which waits inside
    the kernel, has it a moment later, with nobody in between who would have to notice.
    """

    def __init__(self, delay: float = STANDBY_DELAY, fd: int | None = None) -> None:
        """``delay`` is how many seconds a process is in no hurry to load its model while another serves."""
        self._delay = delay
        self._fd = os.memfd_create("inference-turn", os.MFD_CLOEXEC) if fd is None else fd

    def __reduce__(self) -> tuple[object, ...]:
        return _received, (self._delay, DupFd(self._fd))

    @property
    def is_taken(self) -> bool:
        """Whether another process has its turn."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.lockf(self._fd, fcntl.LOCK_UN)
        return False

    def wait_to_load(self, child: Child, *, comes_second: bool) -> None:
        """Return when it is time to load the model, or the process is to stop.

        At once if nobody serves; who ``comes_second`` leaves the start to the other one first. While
        somebody serves, the rest of the machine goes before: after a while, and with low priority if that
        can be taken back.
        """
        while comes_second and not self.is_taken:
            if child.stopping.wait(LOOK_EVERY):
                return
        until = time.monotonic() + self._delay
        while (left := until - time.monotonic()) > 0 and self.is_taken:
            if child.stopping.wait(min(left, LOOK_EVERY)):
                return
        if self.is_taken and _may_raise_priority():
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)

    def wait_to_serve(self, child: Child) -> bool:
        """Beat until it is this process' turn, which is then kept; False if the process is to stop."""
        taken = threading.Event()

        def wait() -> None:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            taken.set()

        threading.Thread(target=wait, name="turn", daemon=True).start()
        while not taken.wait(LOOK_EVERY):
            if child.stopping.is_set():
                return False
            child.beat()
        _raise_priority()
        return True

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _received(delay: float, duplicate: Any) -> Turn:
    return Turn(delay, duplicate.detach())


def _may_raise_priority() -> bool:
    """Whether niceness can be taken back: else a standby that has taken over would be slow for good."""
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20:
        return True
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & _CAP_SYS_NICE)
    return False


def _raise_priority() -> None:
    """All threads back to normal: those that the engine has started have inherited the niceness."""
    if os.getpriority(os.PRIO_PROCESS, 0):
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 0)
