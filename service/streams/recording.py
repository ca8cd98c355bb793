"""Keeps a stream as annotated video: every event with some seconds around it, or all of it in parts."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from service.streams.recording_file import SUFFIX, RecordingFile, Shot
from service.types import Event, EventMessage, EventPhase

RING_BYTES: Final = 64 << 20
MOST_FPS: Final = 60.0
MOST_WRITERS: Final = 3
RETRY: Final = 10.0
"""Seconds of media time after which a recording that was given up is tried again."""

logger = logging.getLogger(__name__)

Done = Callable[[str | None, str], None]
"""Told the id of the event, if it is of one, and the name of the file, from another thread."""


class Recorder(Protocol):
    """Follows the frames and events of one connection; the work on files is done in other threads."""

    def add(self, shot: Shot) -> None:
        """Take the next frame; never waits."""
        ...

    def note(self, messages: Sequence[EventMessage]) -> None:
        """Hear what has become of events."""
        ...

    def close(self, timeout: float = 0.0) -> None:
        """End the recording here; waits for files at most ``timeout`` seconds, the rest goes on without."""
        ...


class _Files:
    """The files of one recorder: at most ``MOST_WRITERS`` at a time, however long the disk holds them up."""

    def __init__(self, folder: Path, fps: float, done: Done) -> None:
        self._folder = folder
        self._fps = min(fps, MOST_FPS)
        self._done = done
        self._writers: list[threading.Thread] = []
        self._are_held_up = False

    def open(self, name: str, event: str | None, shots: list[Shot]) -> RecordingFile | None:
        """Begin a file with ``shots``, or return None while too many are not finished."""
        self._writers = [thread for thread in self._writers if thread.is_alive()]
        were_held_up, self._are_held_up = self._are_held_up, len(self._writers) >= MOST_WRITERS
        if self._are_held_up:
            if not were_held_up:
                logger.warning("recordings in %s wait: the disk holds up %d", self._folder, MOST_WRITERS)
            return None
        path = self._folder / (re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") + SUFFIX)
        recording = RecordingFile(path, self._fps, shots, lambda: self._done(event, path.name))
        self._writers.append(recording.thread)
        return recording

    def join(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for thread in self._writers:
            thread.join(max(0.0, deadline - time.monotonic()))


class EventRecorder:
    """A file for each event, named after it, and another for every further ``segment`` seconds of a long one.

    ``before`` and ``after`` are seconds, ``fps`` the rate of the video. ``detection`` tells how many seconds
    after its start an event may be announced: so long frames are kept beyond ``before``. One recording goes
    on at a time: an event that begins in the margin of another ends that one's file. What was given up, as
    the disk is full or too slow, goes on in a further part after ``RETRY`` seconds; a part that cannot begin
    is tried again with every frame.
    """

    def __init__(
        self,
        folder: Path,
        before: float,
        after: float,
        segment: float,
        fps: float,
        done: Done,
        detection: Callable[[], float],
    ) -> None:
        self._files = _Files(folder, fps, done)
        self._before = before
        self._detection = detection
        self._after = after
        self._segment = segment
        self._ring: deque[Shot] = deque()
        self._ring_bytes = 0
        self._recording: RecordingFile | None = None
        self._event: str | None = None
        self._until: float | None = None
        self._since = self._began = 0.0
        self._part = 1

    def add(self, shot: Shot) -> None:
        if self._until is not None and shot.pts > self._until:
            self._finish()
        if self._recording and shot.pts - self._began >= _longest(self._recording, self._segment):
            self._recording.finish()
            self._recording = None
            self._part += 1
            self._since = shot.pts
        if self._event and self._recording is None:
            self._open(self._event, shot.pts)
        if self._recording:
            self._recording.put(shot)
        self._keep(shot)

    def note(self, messages: Sequence[EventMessage]) -> None:
        for message in messages:
            if message.phase is EventPhase.STARTED:
                self._begin(message.event)
            elif message.phase is EventPhase.ENDED and message.event.id == self._event:
                assert message.event.end_pts is not None
                self._until = message.event.end_pts + self._after

    def close(self, timeout: float = 0.0) -> None:
        self._finish()
        self._files.join(timeout)

    def _keep(self, shot: Shot) -> None:
        self._ring.append(shot)
        self._ring_bytes += len(shot.jpeg)
        oldest = shot.pts - self._before - self._detection()
        while self._ring and (self._ring_bytes > RING_BYTES or self._ring[0].pts < oldest):
            self._ring_bytes -= len(self._ring.popleft().jpeg)

    def _begin(self, event: Event) -> None:
        self._finish()
        self._event, self._part = event.id, 1
        self._since = event.start_pts - self._before
        self._open(event.id, event.start_pts)

    def _open(self, event: str, pts: float) -> None:
        """Begin the present part with what is kept of it, if there may be another file."""
        name = event if self._part == 1 else f"{event}.{self._part}"
        shots = [shot for shot in self._ring if shot.pts >= self._since]
        self._began = pts
        self._recording = self._files.open(name, event, shots)

    def _finish(self) -> None:
        if self._recording:
            self._recording.finish()
        elif self._event:
            logger.warning("event %s is not recorded to its end: the disk is too slow", self._event)
        self._recording = self._event = self._until = None


class ContinuousRecorder:
    """All that a stream shows, in a new file every ``segment`` seconds, named after the time it begins (UTC).

    What was given up, as the disk is full or too slow, goes on in a new file after ``RETRY`` seconds.
    """

    def __init__(
        self,
        folder: Path,
        segment: float,
        fps: float,
        done: Done,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = _Files(folder, fps, done)
        self._segment = segment
        self._clock = clock
        self._recording: RecordingFile | None = None
        self._began = 0.0

    def add(self, shot: Shot) -> None:
        length = shot.pts - self._began
        if self._recording and (length < 0 or length >= _longest(self._recording, self._segment)):
            self._finish()
        if self._recording is None:
            self._begin(shot.pts)
        if self._recording:
            self._recording.put(shot)

    def note(self, messages: Sequence[EventMessage]) -> None:
        """Events make no difference."""

    def close(self, timeout: float = 0.0) -> None:
        self._finish()
        self._files.join(timeout)

    def _begin(self, pts: float) -> None:
        self._began = pts
        name = f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%dT%H%M%S.%fZ}"
        self._recording = self._files.open(name, None, [])

    def _finish(self) -> None:
        if self._recording:
            self._recording.finish()
        self._recording = None


def _longest(recording: RecordingFile, segment: float) -> float:
    return min(segment, RETRY) if recording.is_given_up else segment
