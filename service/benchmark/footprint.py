"""The program itself, from outside: ``video-events run`` over clips of growing length."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from service.benchmark import program
from service.benchmark.clip import Clip, lengthen
from service.benchmark.machine import peak_memory
from service.benchmark.statistics import quantile, rounded, significant
from service.engines import Engine
from service.errors import BenchmarkError

LOOK_EVERY: Final = 0.02
HEADER_BYTES: Final = 8192
"""A file that is longer than this has its first frame."""


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds from the start of the process to its first annotated frame on disk, and to its end.

    ``first_frame_seconds`` is ``None`` if nobody looked between that frame and the end. ``cpu_seconds`` are
    those of the processor, start included.
    """

    frames: int
    cpu_seconds: float
    first_frame_seconds: float | None
    seconds: float
    peak_memory: int

    def document(self) -> dict[str, Any]:
        first = self.first_frame_seconds
        return {
            "frames": self.frames,
            "first_frame_seconds": rounded(first, 4),
            "seconds": significant(self.seconds, 4),
            "cpu_seconds": significant(self.cpu_seconds, 4),
            "fps_after_first_frame": rounded(first and self.frames / (self.seconds - first), 4),
            "peak_memory_mb": significant(self.peak_memory / 1e6, 4),
        }


def run_program(clip: Path, frames: int, model: str, engine: Engine, folder: Path) -> Run:
    """Raises ``BenchmarkError`` with what the program said if it fails."""
    output = folder / "results"
    output.mkdir(exist_ok=True)
    video = output / f"{clip.stem}_events.avi"
    growing = video.with_name(video.name + ".part")
    arguments = ["run", str(clip.absolute()), "--output", str(output), "--overwrite", "--json"]
    arguments += ["--model", model, "--engine", engine.value]
    video.unlink(missing_ok=True)
    began, used = time.perf_counter(), _children_seconds()
    with program.start(arguments, folder) as process:
        first: float | None = None
        most = 0
        try:
            while process.poll() is None:
                most = max(most, peak_memory(process.pid))
                if first is None and (_size(growing) > HEADER_BYTES or video.exists()):
                    first = time.perf_counter() - began
                time.sleep(LOOK_EVERY)
            seconds = time.perf_counter() - began
            said = process.stderr.read() if process.stderr else ""
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise BenchmarkError(f"video-events run ended with status {process.returncode}: {said.strip()}")
    video.unlink()
    return Run(frames, _children_seconds() - used, first, seconds, most)


def measure_growth(
    clip: Clip,
    times: Sequence[int],
    model: str,
    engine: Engine,
    folder: Path,
    into: dict[str, Any],
    on_step: Callable[[str], None] = lambda name: None,
) -> None:
    """Run the clip ``times`` over; how time and memory grow. Figures go ``into`` as they come.

    The growth is that of the processor's seconds, which other programs hardly disturb: what a further frame
    costs from one length to the next, so that the start of the program does not count.
    """
    runs: dict[int, Run] = {}
    for factor in times:
        on_step(f"run, length ×{factor}")
        longer = lengthen(clip, folder, factor)
        runs[factor] = run_program(longer, clip.frames * factor, model, engine, folder)
        longer.unlink()
        into |= _growth(runs)


def _growth(runs: Mapping[int, Run]) -> dict[str, Any]:
    first = [run.first_frame_seconds for run in runs.values() if run.first_frame_seconds is not None]
    return {
        "runs": {f"x{factor}": run.document() for factor, run in runs.items()},
        "core_ms_per_further_frame": [_further(*pair) for pair in pairwise(runs.values())],
        "peak_memory_mb": significant(max(run.peak_memory for run in runs.values()) / 1e6, 4),
        "first_frame_seconds": rounded(quantile(first, 0.5) if first else None, 4),
        "first_frame_seconds_most": rounded(max(first, default=None), 4),
    }


def _further(shorter: Run, longer: Run) -> float:
    """Core-milliseconds that each further frame took: all alike where growth is linear."""
    cost = (longer.cpu_seconds - shorter.cpu_seconds) / (longer.frames - shorter.frames)
    return significant(1000 * cost, 4)


def _children_seconds() -> float:
    """Processor seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
