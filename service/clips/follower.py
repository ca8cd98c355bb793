"""Follows the work on a clip: what its process tells is shown, and its events are put into the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from service.clips.messages import Finished, Happened, Report, Working
from service.clips.process import StoppedError
from service.clips.records import Clip, ClipState
from service.errors import StorageError
from service.event_log import EventLog

AGAIN_SECONDS: Final = 5.0
"""Until something is tried again for which the disk, or the machine, had no room."""

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Follower:
    """Turns what a clip's process tells into the state of the clip, and puts its events into the log."""

    def __init__(
        self, clip: Clip, log: EventLog, show: Callable[[Clip], None], stop: threading.Event
    ) -> None:
        self.clip = clip
        self._log = log
        self._show = show
        self._stop = stop
        self._began: float | None = None

    def hear(self, report: Report) -> None:
        if isinstance(report, Happened):
            # The name of the stream is ours to say, not that of a process which decodes a stranger's file.
            event = replace(report.message.event, stream=self.clip.id)
            message = replace(report.message, event=event)
            patiently(self._stop, lambda: self._log.append([message], model=self.clip.model).result())
        elif isinstance(report, Working):
            self._advance(report.frames)

    def finish(self, finished: Finished, now: float) -> Clip:
        self._advance(finished.frames)
        return replace(
            self.clip,
            state=ClipState.DONE,
            duration=finished.duration,
            ended_early=finished.ended_early,
            finished_at=now,
        )

    def _advance(self, frames: int) -> None:
        now = time.monotonic()
        self._began = self._began or now
        fps = frames / (now - self._began) if frames and now > self._began else None
        self.clip = replace(self.clip, frames=frames, fps=fps)
        self._show(self.clip)


def patiently(
    stop: threading.Event, step: Callable[[], Result], tell: Callable[[str], None] = lambda reason: None
) -> Result:
    """Take a step, and again as long as disk or machine have no room for it. Raises ``StoppedError``.

    ``tell`` is given the reason each time; a new one is logged.
    """
    told = None
    while True:
        try:
            return step()
        except (StorageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            tell(reason)
            if reason != told:
                logger.warning("a clip waits for room: %s", error)
            told = reason
            if stop.wait(AGAIN_SECONDS):
                raise StoppedError from None
