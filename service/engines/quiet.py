"""Keeps a library's start-up notes off the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr_held() -> Iterator[None]:
    """Hold back what native code writes to stderr; it is shown after all if the block raises.

    TensorFlow 2.21 writes notes while it is imported that no setting turns off. Everything that this
    process writes to file descriptor 2 meanwhile is held back, other threads included.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed: nothing to hold back
        yield
        return
    with open(os.memfd_create("stderr"), "w+b", buffering=0) as held:
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                held.seek(0)
                os.write(2, held.read())
