"""What becomes of annotated frames: the live view and the recordings, encoded once for both."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import cv2

from service.sinks.mjpg_file import encode_jpeg
from service.streams.messages import Picture, Recorded
from service.streams.outlet import Outlet
from service.streams.recording import ContinuousRecorder, EventRecorder, Recorder
from service.streams.recording_file import JPEG_QUALITY, Shot
from service.streams.records import Record, StreamOptions
from service.types import EventMessage, Frame

LATENESS: Final = 3.0
"""Seconds for which the network may keep an event waiting on top of what its settings do."""

logger = logging.getLogger(__name__)


class Screen:
    """Shows the frames of one connection, at most ``view_rate`` per second, and records them."""

    def __init__(self, outlet: Outlet, options: StreamOptions, folder: Path | None, fps: float) -> None:
        self._outlet = outlet
        self._every = 1 / max(options.view_rate, 0.01)
        self._due_at = 0.0
        self._recorder = None if folder is None else self._make_recorder(options, folder, fps)

    def wants(self) -> bool:
        """Whether the next frame will be seen by anybody: only then it has to be drawn on."""
        return self._recorder is not None or self._is_due(time.monotonic())

    def show(self, frame: Frame) -> None:
        now = time.monotonic()
        due = self._is_due(now)
        if not due and self._recorder is None:
            return
        try:
            jpeg = encode_jpeg(frame.image, JPEG_QUALITY)
        except (ValueError, cv2.error) as error:
            logger.warning("a frame cannot be shown: %s", error)
            return
        if due:
            self._due_at = max(self._due_at + self._every, now)
            self._outlet.tell(Picture(jpeg))
        if self._recorder:
            height, width = frame.image.shape[:2]
            self._recorder.add(Shot(frame.pts, width, height, jpeg))

    def note(self, messages: Sequence[EventMessage]) -> None:
        if self._recorder:
            self._recorder.note(messages)

    def close(self, timeout: float = 0.0) -> None:
        """Finish a recording that goes on; waits at most ``timeout`` seconds for its file."""
        if self._recorder:
            self._recorder.close(timeout)

    def _make_recorder(self, options: StreamOptions, folder: Path, fps: float) -> Recorder | None:
        def done(event: str | None, file: str) -> None:
            self._outlet.tell(Recorded(event, file))

        if options.record is Record.EVENTS:
            margins = options.record_before, options.record_after
            detection = partial(self._detection, options, fps)
            return EventRecorder(folder, *margins, options.record_segment, fps, done, detection)
        if options.record is Record.ALWAYS:
            return ContinuousRecorder(folder, options.record_segment, fps, done)
        return None

    def _detection(self, options: StreamOptions, fps: float) -> float:
        """Seconds from an event's start until it is announced, at most: the average must reach ``enter``."""
        settings = options.settings
        window = settings.window_seconds
        if window is None:
            frames = 1 / self._outlet.interval(fps)
            rates = (frames / settings.every, options.rate, self._outlet.pace)
            window = settings.window / min(rate for rate in rates if rate)
        return settings.enter * window + settings.min_duration + LATENESS

    def _is_due(self, now: float) -> bool:
        return self._outlet.wanted and now >= self._due_at
