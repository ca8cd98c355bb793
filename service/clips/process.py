"""Starts the process of a clip, listens to it, and kills it when it takes too long or is no longer wanted."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from service import logs
from service.clips import worker
from service.clips.messages import MAX_BYTES, Failed, Finished, Probed, Report, decode
from service.clips.records import ClipLimits, ModelProvider, VideoFacts
from service.errors import ClipFailedError, NotAVideoError

TICK: Final = 0.1
"""Seconds between two looks at whether the work is still wanted."""
KILL_GRACE: Final = 2.0
PROBE_MEMORY: Final = 2 << 30

_spawn = multiprocessing.get_context("spawn")


class StoppedError(Exception):
    """The work was stopped on request."""


class CrashedError(ClipFailedError):
    """The process was ended by a signal: decoding crashed, or somebody or the kernel killed it."""


def probe(source: Path, name: str, limits: ClipLimits, stop: threading.Event) -> VideoFacts:
    """Decode the first frame in a process of its own.

    Raises ``NotAVideoError`` with the reason, also where decoding crashes or does not come to an end, and
    ``StoppedError`` after ``stop`` was set.
    """
    memory = min(PROBE_MEMORY, limits.memory)
    try:
        with _process(worker.probe, source, name, memory) as (process, pipe):
            for report in _reports(process, pipe, stop, limits.probe_seconds, limits.probe_seconds):
                if isinstance(report, Probed):
                    return report.video
                if isinstance(report, Failed):
                    raise NotAVideoError(report.reason)
    except ClipFailedError as error:
        raise NotAVideoError(f"{name}: not a video that can be decoded here ({error})") from error
    raise NotAVideoError(f"{name}: not a video that can be decoded here")


def run(
    task: worker.ClipTask,
    provider: ModelProvider,
    limits: ClipLimits,
    stop: threading.Event,
    on_report: Callable[[Report], None],
) -> Finished:
    """Work on a clip in a process of its own; ``on_report`` hears everything before the end.

    Raises ``ClipFailedError`` with a reason for the clip's sender, of which ``CrashedError`` may not happen
    again, and ``StoppedError`` after ``stop`` was set.
    """
    with _process(worker.run_clip, task, provider) as (process, pipe):
        for report in _reports(process, pipe, stop, limits.stall_seconds, limits.run_seconds):
            if isinstance(report, Failed):
                raise ClipFailedError(report.reason)
            if isinstance(report, Finished):
                return report
            on_report(report)
    raise ClipFailedError("the process that worked on the clip ended without a result")


@contextmanager
def _process(main: Callable[..., None], *args: Any) -> Iterator[tuple[SpawnProcess, Connection]]:
    """A running process and the reading end of its pipe; nothing of it is left afterwards."""
    reading, writing = _spawn.Pipe(duplex=False)
    process = _spawn.Process(
        target=_main, args=(logs.chosen(), main, writing, *args), name=main.__name__, daemon=True
    )
    with reading:
        try:
            with writing:
                process.start()
            yield process, reading
        finally:
            if process.pid is not None:
                process.kill()
                process.join(KILL_GRACE)
                if process.exitcode is not None:
                    process.close()


def _main(log_settings: logs.LogSettings | None, main: Callable[..., None], *args: Any) -> None:
    if log_settings:
        logs.set_up(log_settings)
    main(*args)


def _reports(
    process: SpawnProcess, pipe: Connection, stop: threading.Event, stall_seconds: float, run_seconds: float
) -> Iterator[Report]:
    began = heard = time.monotonic()
    while True:
        if stop.is_set():
            raise StoppedError
        try:
            if pipe.poll(TICK):
                yield decode(pipe.recv_bytes(MAX_BYTES))
                heard = time.monotonic()
                continue
        except (EOFError, ConnectionResetError):
            process.join(KILL_GRACE)
            raise _obituary(process.exitcode) from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ClipFailedError("the process that worked on the clip went astray") from error
        now = time.monotonic()
        if now - heard > stall_seconds:
            raise ClipFailedError(f"no progress within {stall_seconds:g} s")
        if now - began > run_seconds:
            raise ClipFailedError(f"not done within {run_seconds:g} s")


def _obituary(status: int | None) -> ClipFailedError:
    if status is not None and status < 0:
        return CrashedError(f"the decoding process was ended by signal {-status}")
    return ClipFailedError("the decoding process ended without a result")
