"""How far a training is, on standard output: bars on a terminal, a few plain lines in a pipe or file."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras

_LINES = 4
"""Of a pass whose bar nobody would see; one of fewer steps is over soon and has none."""


def verbosity(verbose: int | str = "auto") -> int:
    """The number by which Keras knows ``verbose``: 0 is silence, 1 bars, 2 lines of our own.

    ``auto``, which Keras takes for bars, is what suits standard output.
    """
    if verbose != "auto":
        return int(verbose)
    if sys.stdout is None:
        return 0
    return 1 if sys.stdout.isatty() else 2


class EpochProgress(keras.callbacks.ProgbarLogger):  # type: ignore[misc]
    """Tells of ``epochs`` in all, also where each is fitted by itself, as ``verbosity`` says."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs_in_all = epochs
        self._started = 0.0

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params({**params, "epochs": self._epochs_in_all})

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()
        if self.verbose != 2:
            super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.verbose != 2:
            super().on_epoch_end(epoch, logs)
            return
        figures = ", ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
        seconds = time.monotonic() - self._started
        print(f"epoch {epoch + 1} of {self.epochs}, {seconds:.0f} s: {figures}", flush=True)


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
