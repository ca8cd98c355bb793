"""How far a training is, on standard output: bars on a terminal, a few plain lines in a pipe or file."""

from __future__ import annotations

import sys
import time

import keras

_LINES = 4
"""Of a pass whose bar nobody would see; one of fewer steps is over soon and has none."""


def verbosity(verbose: int | str = "auto") -> int:
    """The number by which Keras knows ``verbose``: 0 is silence, 1 bars, 2 lines.

    ``auto``, which Keras takes for bars, is what suits standard output.
    """
    if verbose != "auto":
        return int(verbose)
    if sys.stdout is None:
        return 0
    return 1 if sys.stdout.isatty() else 2


class Steps:
    """Tells of a pass over ``total`` batches, or whatever a ``unit`` is, as ``verbosity`` says."""

    def __init__(self, total: int, unit: str, verbose: int) -> None:
        self._total, self._unit, self._verbose = total, unit, verbose if total else 0
        self._bar = keras.utils.Progbar(total, unit_name=unit, verbose=int(self._verbose == 1))
        self._done = 0
        self._started = time.monotonic()

    def add(self, count: int) -> None:
        """So many more are done."""
        before, self._done = self._done, self._done + count
        self._bar.add(count)
        if self._verbose == 2 and self._total >= _LINES and self._part(self._done) > self._part(before):
            seconds = time.monotonic() - self._started
            print(f"{self._unit} {self._done} of {self._total}, {seconds:.0f} s", flush=True)

    def _part(self, done: int) -> int:
        return done * _LINES // self._total
