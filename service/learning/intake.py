"""Decodes what strangers send, or cameras have recorded, in a process of its own that may be killed."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final

from service.child import leave_with_parent
from service.errors import LearningError, VideoEventsError
from service.learning.examples import FROM_RANGES, Example, Range, decode, frames_of

SECONDS: Final = 60.0
WAIT_STEP: Final = 0.2
MEMORY: Final = 3 << 30
"""Bytes of address space."""


def take_images(images: Sequence[tuple[str, bytes]], while_waiting: Callable[[], None]) -> list[Example]:
    """Examples from named files as they came. Raises LearningError for one that is no image.

    ``while_waiting`` is called every 0.2 s; what it raises ends the decoding.
    """
    return _elsewhere(_decode_all, images, while_waiting)


def take_frames(recording: Path, ranges: Sequence[Range], while_waiting: Callable[[], None]) -> list[Example]:
    """Up to 20 frames of time ranges of a recording, as ``take_images``.

    Raises LearningError or SourceError.
    """
    return _elsewhere(_frames, (str(recording), ranges), while_waiting)


def _elsewhere(
    task: Callable[..., list[Example] | VideoEventsError], what: object, while_waiting: Callable[[], None]
) -> list[Example]:
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_limit)
    processes = []
    try:
        future = pool.submit(task, what)
        processes = list((pool._processes or {}).values())
        deadline = time.monotonic() + SECONDS
        while_waiting()
        while not wait([future], WAIT_STEP).done:
            while_waiting()
            if time.monotonic() >= deadline:
                raise TimeoutError
        outcome = future.result()
    except TimeoutError as error:
        raise LearningError(
            f"decoding took longer than {SECONDS:g} s; choose ranges nearer to the beginning of the recording"
        ) from error
    except (BrokenProcessPool, MemoryError) as error:
        raise LearningError("the examples cannot be decoded here: too large, or damaged") from error
    finally:
        for process in processes:
            process.kill()
        pool.shutdown(cancel_futures=True)
    if isinstance(outcome, VideoEventsError):
        raise outcome
    return outcome


def _limit() -> None:
    leave_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which kills this process
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode_all(images: Sequence[tuple[str, bytes]]) -> list[Example] | VideoEventsError:
    try:
        return [decode(data, name) for name, data in images]
    except VideoEventsError as error:
        return error


def _frames(what: tuple[str, Sequence[Range]]) -> list[Example] | VideoEventsError:
    try:
        return frames_of(*what, FROM_RANGES)
    except VideoEventsError as error:
        return error
