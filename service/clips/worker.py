"""The process that works on one clip: decodes, classifies, draws, writes the results, tells of it.

It is started afresh for every clip and may be killed at any moment. Decoding happens under limits set
here; time is limited from outside (``process``).
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import cv2

from service.annotate import Annotator
from service.child import leave_with_parent
from service.clips.messages import Failed, Finished, Happened, Probed, Report, Working, encode
from service.clips.records import ClipOptions, ModelProvider, VideoFacts
from service.engines.restricted import RestrictedClassifier
from service.errors import SinkError, VideoEventsError
from service.pipeline import RunResult, plan, run
from service.sinks import Step
from service.sinks.event_files import EventReport, write_event_files
from service.sinks.mjpg_file import MjpgFile
from service.sources import open_source
from service.types import Classifier, EventMessage, SourceProperties

VIDEO: Final = "annotated.avi"
STEM: Final = "clip"
"""Begins the names of the event files in a clip's folder."""
TELL_EVERY: Final = 0.25
"""Seconds between two words on progress at least."""
NICENESS: Final = 10
"""Live streams come first."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One attempt at a clip: results go into ``folder``; ``file_bytes`` is the most one may grow to."""

    source: Path
    folder: Path
    name: str
    stream: str
    video: VideoFacts
    options: ClipOptions
    memory: int
    file_bytes: int


class TellingSink:
    """Passes the life of events on to the service."""

    def __init__(self, tell: Callable[[Report], None]) -> None:
        self._tell = tell

    def write(self, step: Step) -> None:
        self._all(step.messages)

    def close(self, last: tuple[EventMessage, ...]) -> None:
        self._all(last)

    def abort(self) -> None:
        pass

    def _all(self, messages: tuple[EventMessage, ...]) -> None:
        for message in messages:
            self._tell(Happened(message))


def probe(pipe: Connection, source: Path, name: str, memory: int) -> None:
    """Main function of a process that decodes the first frame of a file and tells of it."""

    def work(tell: Callable[[Report], None]) -> None:
        _limit(memory)
        with open_source(str(source), source_id=name, allow_network=False) as opened:
            facts = opened.properties
        tell(Probed(VideoFacts(facts.width, facts.height, facts.fps, facts.frame_count)))

    _work(pipe, work)


def run_clip(pipe: Connection, task: ClipTask, provider: ModelProvider) -> None:
    """Main function of the process of one clip."""

    def work(tell: Callable[[Report], None]) -> None:
        result = _run(task, provider, tell)
        ended_early = result.ended_early and result.ended_early.replace(_folder(task), "")
        tell(Finished(result.frames, result.duration, ended_early))

    _work(pipe, work, hidden=_folder(task))


def _folder(task: ClipTask) -> str:
    """How names of results begin, which a clip's sender is not told."""
    return str(task.folder) + os.sep


def _run(task: ClipTask, provider: ModelProvider, tell: Callable[[Report], None]) -> RunResult:
    video = task.video
    properties = SourceProperties(video.width, video.height, video.fps, video.frame_count, is_live=False)
    flow = plan(properties, task.options.settings)
    settings = replace(task.options.settings, batch_size=flow.batch_size)
    classifier: Classifier = provider.open(settings.batch_size)
    if task.options.labels is not None:
        classifier = RestrictedClassifier(classifier, task.options.labels)
    tell(Working(0))
    _limit(task.memory, task.file_bytes)
    with open_source(str(task.source), source_id=task.name, allow_network=False) as source:
        annotated = MjpgFile(
            task.folder / VIDEO,
            source.properties.fps,
            pixel_aspect=source.properties.pixel_aspect,
            annotator=Annotator(),
            depth=flow.sink_depth,
        )
        result = run(
            source,
            task.stream,
            classifier,
            settings,
            [annotated, TellingSink(tell)],
            on_progress=_seldom(lambda frames: tell(Working(frames))),
        )
    report = EventReport.of(task.name, provider.name, settings, result)
    write_event_files(task.folder, STEM, report)
    if result.ended_early and not annotated.is_kept:
        raise SinkError(result.ended_early)
    return result


def _work(pipe: Connection, work: Callable[[Callable[[Report], None]], None], hidden: str = "") -> None:
    leave_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to handle, which kills this process
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(1)  # as in ``run``

    def tell(report: Report) -> None:
        pipe.send_bytes(encode(report))

    try:
        work(tell)
    except SinkError as error:
        tell(Failed(str(error).replace(hidden, "") if hidden else str(error)))
    except VideoEventsError as error:
        tell(Failed(str(error)))
    except MemoryError:
        tell(Failed("decoding this clip takes more memory than is allowed here"))
    except Exception as error:
        logger.exception("work on a clip failed")
        memory = "Insufficient memory" in str(error)  # as OpenCV calls it
        reason = (
            "decoding this clip takes more memory than is allowed here" if memory else "an internal error"
        )
        tell(Failed(reason))
    finally:
        pipe.close()


def _limit(memory: int, file_bytes: int | None = None) -> None:
    """Allow ``memory`` bytes of address space beyond today's: what a model takes is not the clip's fault."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def _seldom(tell: Callable[[int], None]) -> Callable[[int], None]:
    told = -TELL_EVERY

    def pass_on(frames: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            tell(frames)

    return pass_on
