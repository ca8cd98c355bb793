"""The process of one stream: connects to its source, works on it, and connects again whenever it is lost.

The main thread only waits in small steps, gives its signs of life and applies results; opening, reading,
classifying, telling and recording each have a thread of their own.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from service.addresses import Pinned
from service.annotate import Annotator
from service.backoff import Backoff
from service.child import Child
from service.config import HardwareDecode
from service.engines.restricted import check_labels
from service.errors import (
    AddressRefusedError,
    ConfigurationError,
    SourceAuthenticationError,
    SourceError,
    SourceNotFoundError,
    SourceTimeoutError,
)
from service.sources import Source, open_source, redact
from service.streams.messages import Opened, Recorded
from service.streams.outlet import Outlet
from service.streams.playback import play
from service.streams.recogniser import Recogniser, open_classifier
from service.streams.recording_file import adopt
from service.streams.records import LiveModel, StreamOptions
from service.streams.screen import Screen
from service.streams.session import STEP, Limits, LiveSession
from service.types import StreamState

RECONNECT: Final = Backoff(first=0.5, factor=2.0, limit=4.0, jitter=0.25)
REFUSED: Final = Backoff(first=8.0, limit=8.0, jitter=0.5)
"""Where waiting alone mends nothing, but somebody may: another password, another rule."""
OPEN_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 5.0
OPENING_HANGS: Final = 30.0
"""Seconds after which this process is given up: OpenCV opens one source at a time."""
LAST_WORDS: Final = 0.6
"""Seconds each for finishing a recording and telling what is left when the process is to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTask:
    """What to work on. Picklable.

    ``resolve`` is called with the source before every connection and returns the address to open,
    checked and pinned, or raises SourceError to refuse; a source that is not ``trusted`` must have it,
    and is not followed to anywhere else.
    ``folder`` is for recordings. ``limits`` are seconds without a frame.
    """

    name: str
    source: str
    options: StreamOptions
    trusted: bool
    folder: Path | None
    hardware: HardwareDecode = HardwareDecode.AUTO
    resolve: Callable[[str], Pinned] | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.trusted and self.resolve is None:
            raise ConfigurationError(f"stream {self.name}: a source that is not trusted has to be checked")


def run_stream(child: Child, task: StreamTask, model: LiveModel, pipe: Connection) -> None:
    """Main function of the process of one stream; returns when it is to stop.

    Raises VideoEventsError when the service is gone, or when only a new process can help.
    """
    # Streams share the cores among themselves: a pool of threads in each would only get in each other's way.
    cv2.setNumThreads(1)
    outlet = Outlet(child, pipe)
    child.ready()
    if task.folder is not None:
        for file in adopt(task.folder):
            outlet.tell(Recorded(None, file))
    stream = _Stream(task, model, outlet)
    try:
        stream.run()
    finally:
        stream.close()
        outlet.close(LAST_WORDS)


class _Stream:
    def __init__(self, task: StreamTask, model: LiveModel, outlet: Outlet) -> None:
        self._task = task
        self._model = model
        self._outlet = outlet
        self._open_model = partial(open_classifier, model, task.options)
        self._recogniser: Recogniser | None = None
        self._annotator = Annotator()
        self._named_at = 0

    def run(self) -> None:
        self._wait_for_labels()
        failures = 0
        began = time.monotonic()
        while self._outlet.pulse():
            self._outlet.attempt = failures + 1
            self._outlet.stand(StreamState.CONNECTING)
            began = time.monotonic()
            state, backoff = StreamState.LOST, RECONNECT
            try:
                reason = self._connect()
            except (AddressRefusedError, SourceAuthenticationError) as error:
                state, reason, backoff = StreamState.FAILED, str(error), REFUSED
            except SourceError as error:
                reason = str(error)
            if reason is None:
                return
            failures = backoff.attempt(failures, time.monotonic() - began)
            wait = backoff.delay(failures, random.random())
            self._outlet.attempt = failures
            self._outlet.stand(state, reason, wait)
            self._wait(wait)

    def _wait_for_labels(self) -> None:
        """One that is learned may still follow to a new version of the model, or be learned once more."""
        options = self._task.options
        while self._outlet.pulse():
            try:
                options.check()
                if options.labels is not None:
                    check_labels(options.labels, self._model.labels)
                return
            except ConfigurationError as error:
                wait = REFUSED.delay(1, random.random())
                self._outlet.stand(StreamState.FAILED, str(error), wait)
                self._wait(wait)

    def close(self) -> None:
        if self._recogniser:
            self._recogniser.close()

    def _connect(self) -> str | None:
        """Work on the source until it is lost; return why, or None once the process is to stop."""
        source = self._open()
        if source is None:
            return None
        facts = source.properties
        self._outlet.tell(Opened(facts.width, facts.height, facts.fps, facts.is_live))
        screen = Screen(self._outlet, self._task.options, self._task.folder, facts.fps)
        try:
            if facts.is_live:
                return self._follow(source, screen)
            self._play(source, screen)
            return None
        finally:
            screen.close(LAST_WORDS if self._outlet.stopping.is_set() else 0.0)

    def _follow(self, source: Source, screen: Screen) -> str | None:
        if self._recogniser is None:
            gate = self._task.options.settings.open_gate(is_live=True, views=self._model.views)
            self._recogniser = Recogniser(self._open_model, gate)
        return LiveSession(
            source,
            self._task.options,
            self._recogniser,
            self._outlet,
            screen,
            self._annotator,
            self._new_name,
            self._task.limits,
        ).run()

    def _play(self, source: Source, screen: Screen) -> None:
        result = play(source, self._new_name(), self._task.options, self._open_model, self._outlet, screen)
        screen.close()
        if result and not result.interrupted:
            self._outlet.stand(StreamState.ENDED, result.ended_early)
            self._wait(None)

    def _open(self) -> Source | None:
        """Open the source in a thread, as that takes its time; None if the process is to stop."""
        opening = _Opening(self._task)
        began = time.monotonic()
        while self._outlet.pulse():
            if opening.done.wait(STEP):
                return opening.result()
            if time.monotonic() - began > OPENING_HANGS:
                reason = f"{redact(self._task.source)}: opening it hangs"
                self._outlet.stand(StreamState.LOST, reason)
                raise _HangingError(reason)
        opening.abandon()
        return None

    def _new_name(self) -> str:
        """One that no other run of the stream has had: by the milliseconds of the wall clock."""
        self._named_at = max(self._named_at + 1, int(time.time() * 1000))
        return f"{self._task.name}.{np.base_repr(self._named_at, 36).lower()}"

    def _wait(self, seconds: float | None) -> None:
        """Stay alive for a while, or until the process is to stop."""
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        while self._outlet.pulse() and (left := until - time.monotonic()) > 0:
            self._outlet.stopping.wait(min(left, STEP))


class _Opening:
    """A source that is being opened in a thread of its own; ``done`` tells when it is or has failed."""

    def __init__(self, task: StreamTask) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._failure: BaseException | None = None
        self._abandoned = False
        self.done = threading.Event()
        threading.Thread(target=self._run, name="open source", daemon=True).start()

    def result(self) -> Source:
        if self._failure is not None:
            raise self._failure
        assert self._source
        return self._source

    def abandon(self) -> None:
        """Have it closed as soon as it is open."""
        with self._lock:
            self._abandoned = True
            if self._source:
                self._source.close()

    def _run(self) -> None:
        try:
            source = self._open()
            with self._lock:
                self._source = source
                if self._abandoned:
                    source.close()
        except BaseException as error:  # carried over to the thread that waits
            self._failure = error
        finally:
            self.done.set()

    def _open(self) -> Source:
        task = self._task
        address, host = task.source, None
        if task.resolve:
            try:
                checked = task.resolve(task.source)
            except (SourceNotFoundError, SourceTimeoutError):  # of the name service: that mends itself
                raise
            except SourceError as error:
                raise AddressRefusedError(str(error)) from error
            address, host = checked.url, checked.host
        return open_source(
            address,
            open_timeout=OPEN_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            source_id=redact(task.source),
            host=host,
            hardware=task.hardware,
        )


class _HangingError(Exception):
    """Opening a source does not come to an end: only a new process can open any."""
