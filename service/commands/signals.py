"""What commands do about signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM, and SIGHUP where it is not ignored (``nohup``), stop a command like Ctrl-C.

    What it has started is ended too, and what it has to tell is told, also where its terminal is gone.
    """
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def handle(received: int, _frame: FrameType | None) -> None:
        if received == signal.SIGHUP:  # which comes from the kernel, and once more from the shell
            signal.signal(received, signal.SIG_IGN)
        for number in terminals:
            if not os.isatty(number):  # hung up: what is printed there would be an error
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if number == signal.SIGTERM or handler != signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
