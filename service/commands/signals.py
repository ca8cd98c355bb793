"""What commands do about signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from service.terminals import leave_closed, open_terminals


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM, and SIGHUP where it is not ignored (``nohup``), stop a command like Ctrl-C.

    What it has started is ended too, and what it has to tell is told, also where its terminal is gone.
    """
    terminals = open_terminals()

    def handle(received: int, _frame: FrameType | None) -> None:
        if received == signal.SIGHUP:  # which comes from the kernel, and once more from the shell
            signal.signal(received, signal.SIG_IGN)
        leave_closed(terminals)
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
