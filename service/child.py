"""The child's side of supervision: what a supervised process is told, and how it tells that it lives.

A child is started by ``supervisor``, dies with its parent, is asked to stop by SIGTERM, and leaves Ctrl-C
to its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Final

from service import logs
from service.errors import VideoEventsError

READY: Final = b"r"
BEAT: Final = b"b"
FAILED: Final = b"f"
"""First byte of a message to the supervisor; after FAILED follows the reason, UTF-8."""
MESSAGE_BYTES: Final = 1024
BEAT_EVERY: Final = 0.25
"""Seconds between two heartbeats at least, however often ``beat`` is called."""

_PR_SET_PDEATHSIG: Final = 1

logger = logging.getLogger(__name__)


class Child:
    """What the main function of a supervised process is given.

    ``stopping`` is set when the process shall end: finish what is begun and return.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.stopping = threading.Event()
        self._channel = channel
        self._channel.setblocking(False)
        self._beat_at = -BEAT_EVERY

    def ready(self) -> None:
        """Tell that starting up is over; from here on heartbeats are expected."""
        self._tell(READY)

    def beat(self, patience: float | None = None) -> None:
        """Tell that work goes on. Cheap enough for every frame; to be called by the thread that works.

        ``patience`` is the seconds until the next beat after which something must be wrong, where that is
        less than the supervisor would wait by itself.
        """
        now = time.monotonic()
        if now - self._beat_at >= BEAT_EVERY:
            self._beat_at = now
            self._tell(BEAT + (f"{patience:.3f}".encode() if patience else b""))

    def fail(self, reason: str) -> None:
        """Tell why this process is about to end."""
        self._tell(FAILED + reason.encode()[: MESSAGE_BYTES - 1])

    def _tell(self, message: bytes) -> None:
        # A parent that is gone or does not read must not hold up the work: a lost beat is no loss.
        with contextlib.suppress(OSError):
            self._channel.send(message)


def spare_children_the_program() -> None:
    """Have processes that are started from here on not import the script that this program was started as.

    Spawned processes do, for what of it may be pickled: the command line, for each stream a quarter of a
    second and 10 MB for nothing. Modules named so are left out (``multiprocessing.spawn``).
    """
    main = sys.modules["__main__"]
    if main.__spec__ is None:
        main.__spec__ = ModuleSpec("service.__main__", None)


def run_child(
    parent: int,
    channel: socket.socket,
    log_settings: logs.LogSettings | None,
    main: Callable[..., None],
    args: tuple[object, ...],
) -> None:
    """Be a child of process ``parent``: run ``main(child, *args)``; exit status 0 if that ended by itself.

    After a SIGTERM it is 1: only the parent knows whether it was its own, which ends a child for good.
    """
    _die_with(parent)
    if log_settings:
        logs.set_up(log_settings)
    child = Child(channel)
    _stop_on_sigterm(child)
    status = 0
    try:
        main(child, *args)
        if child.stopping.is_set():
            child.fail("ended by SIGTERM")
            status = 1
    except VideoEventsError as error:  # the supervisor tells it
        child.fail(str(error))
        status = 1
    except Exception as error:
        logger.exception("a supervised process failed")
        child.fail(f"{type(error).__name__}: {error}")
        status = 1
    # At once: a thread that is inside OpenCV's code while the interpreter is taken down would abort.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def leave_with_parent() -> None:
    """End this process at once when its parent is gone, however that went: for one that nobody supervises."""
    parent = parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), name="parent watch", daemon=True).start()


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends: no thread of ours need run."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _stop_on_sigterm(child: Child) -> None:
    """Set ``child.stopping`` from a thread: in a handler it could meet the lock that the main thread holds.

    The interpreter writes to the wake-up socket whichever thread gets the signal, and even while the main
    thread is inside native code.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno())

    def wait() -> None:
        with reader, writer:  # kept open for as long as a signal may come
            while reader.recv(1):
                child.stopping.set()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
