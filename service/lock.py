"""One process at a time in a folder or file: the kernel holds the lock and lets go when that process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK = ".lock"


@contextmanager
def only_one(folder: Path, otherwise: Exception) -> Iterator[IO[str]]:
    """Hold the lock of ``folder``; raises ``otherwise`` while another process does, and OSError.

    A child process that is handed the file descriptor of the result holds the lock too.
    """
    with alone(folder / LOCK, otherwise) as lock:
        yield lock


@contextmanager
def alone(file: Path, otherwise: Exception) -> Iterator[IO[str]]:
    """Hold the lock of ``file``, which is made where it is not there; raises as ``only_one``."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise otherwise from None
        yield lock
