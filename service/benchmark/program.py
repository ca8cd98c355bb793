"""This program as a child of the benchmark, started as a user would, but without this user's settings."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SETTINGS: Final = "VIDEO_EVENTS_"
"""Begins the names of all settings in the environment."""

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """``video-events`` with these arguments; what it logs is to be read from ``stderr``.

    Tokens, streams, webhooks and learned labels of the user are not its own: what it learns lies in
    ``folder``. Ctrl-C is the benchmark's to hear, and when that is gone, however it went, SIGTERM ends it.
    """
    foreign = {name: value for name, value in os.environ.items() if not name.upper().startswith(SETTINGS)}
    return subprocess.Popen(
        [sys.executable, "-m", "service", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=foreign | {f"{SETTINGS}LEARNED": str(folder / "learned")},
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
