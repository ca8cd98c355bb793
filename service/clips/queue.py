"""The queue of clips: a few threads, each of which sees one clip through at a time.

Bounded in clips that wait, in clips worked on at once and in bytes; who comes too much is refused, nothing
is dropped. What a restart has interrupted, or the death of its process, is worked on again, a limited
number of times: a clip may have been what brought it down. While the disk is full, clips wait.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from service.clips import process, room
from service.clips.follower import Follower, patiently
from service.clips.messages import Finished
from service.clips.records import (
    Clip,
    ClipLimits,
    ClipOptions,
    ClipState,
    ModelProvider,
    VideoFacts,
)
from service.clips.store import ClipStore
from service.clips.worker import ClipTask
from service.errors import (
    ClipFailedError,
    ClipNotFoundError,
    ClipRefusedError,
    QueueFullError,
    QuotaError,
    StoppingError,
    StorageError,
)
from service.event_log import EventLog
from service.sources.probing import refusal_of_file
from service.types import CLIP_PREFIX, EndReason

STOP_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Reservation:
    """A place in the queue, and bytes of the quota, for a clip that is still coming in."""

    id: str
    source: Path
    size: int = 0


class ClipQueue:
    """Takes clips in, works on them, keeps and forgets them. ``start`` and ``close`` bracket its life."""

    def __init__(
        self,
        store: ClipStore,
        log: EventLog,
        provider: ModelProvider,
        limits: ClipLimits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        self.provider = provider
        self._store = store
        self._log = log
        self._clock = clock
        self._changed = threading.Condition()
        self._clips: dict[str, Clip] = {}
        self._waiting: deque[str] = deque()
        self._running: dict[str, threading.Event] = {}
        self._reservations: set[Reservation] = set()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"clips {number}", daemon=True)
            for number in range(limits.parallel)
        ]

    def start(self) -> None:
        """Take up what was left by the last life of the service, and begin to work."""
        for clip in self._store.load():
            if clip.state is ClipState.RUNNING:
                self._end_open_events(clip).result()
                clip = self._crashed(clip, "the service went down while it worked on this clip")
                self._store.save(clip).result()
            if clip.is_finished:  # the service was killed just before it did this
                self._store.clear(clip)
            self._clips[clip.id] = clip
            if clip.state is ClipState.QUEUED:
                self._waiting.append(clip.id)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Kill what runs and return once it is gone; it is queued again by the next ``start``."""
        with self._changed:
            self._closing.set()
            for stop in self._running.values():
                stop.set()
            self._changed.notify_all()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def admit(self, expected_bytes: int) -> Reservation:
        """Hold a place for a clip while it is received, until ``add`` or ``release``.

        Raises ``ClipRefusedError``, ``QueueFullError``, ``QuotaError`` or ``StorageError``.
        """
        clip_id = CLIP_PREFIX + secrets.token_hex(12)
        reservation = Reservation(clip_id, self._store.source(clip_id))
        with self._changed:
            if self._closing.is_set() or len(self._waiting) + len(self._reservations) >= self.limits.waiting:
                raise QueueFullError("as many clips wait already as this service takes; try again later")
            self._reservations.add(reservation)
        try:
            self.grow(reservation, expected_bytes)
            self._store.make_folder(clip_id)
        except BaseException:
            self.release(reservation)
            raise
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Give up the place, and delete what has come, of a clip that was not added."""
        with self._changed:
            self._reservations.discard(reservation)
            added = reservation.id in self._clips
        if not added:
            self._store.discard(reservation.id)

    def grow(self, reservation: Reservation, size: int) -> None:
        """Count ``size`` bytes for a clip that is coming in, if it has come to more than before."""
        if size > self.limits.upload_bytes:
            raise ClipRefusedError(f"a clip may have {self.limits.upload_bytes} bytes at most")
        with self._changed:
            growth = size - reservation.size
            if growth <= 0:
                return
            if self._used() + growth > room.for_uploads(self.limits):
                raise QuotaError("the space for clips is used up; remove some, or try again later")
            reservation.size = size
        if self._store.free_bytes() < self.limits.free_bytes:
            raise QuotaError("the disk of this service is nearly full; try again later")

    def examine(self, source: Path, name: str) -> VideoFacts:
        """Decode the first frame. Waits.

        Raises ``NotAVideoError``, ``ClipRefusedError``, or ``StoppingError`` once the queue is closed.
        """
        if refusal := refusal_of_file(source, name):
            raise refusal
        try:
            video = process.probe(source, name, self.limits, self._closing)
        except process.StoppedError:
            raise StoppingError("the service is being stopped; upload the clip when it is back") from None
        if video.width * video.height > self.limits.pixels:
            raise ClipRefusedError(
                f"{name}: frames of {video.width}×{video.height} pixels are too large; "
                f"at most {self.limits.pixels} pixels are taken"
            )
        if video.frame_count and video.frame_count / video.fps > self.limits.video_seconds:
            raise ClipRefusedError(f"{name}: longer than the {self.limits.video_seconds:g} s that are taken")
        return video

    def add(self, reservation: Reservation, name: str, video: VideoFacts, options: ClipOptions) -> Clip:
        """Queue a clip that has come in; it is stored when this returns. Waits."""
        clip = Clip(
            id=reservation.id,
            name=name,
            state=ClipState.QUEUED,
            created_at=self._clock(),
            size=reservation.source.stat().st_size,
            video=video,
            options=options,
            model=self.provider.name,
        )
        self._store.save(clip).result()
        with self._changed:
            self._clips[clip.id] = clip
            self._waiting.append(clip.id)
            self._reservations.discard(reservation)
            self._changed.notify_all()
        return clip

    def get(self, clip_id: str) -> Clip:
        with self._changed:
            try:
                return self._clips[clip_id]
            except KeyError:
                raise ClipNotFoundError("there is no clip of this id; it may have been removed") from None

    def all(self) -> tuple[Clip, ...]:
        """All clips, oldest first."""
        with self._changed:
            return tuple(self._clips.values())

    def folder(self, clip: Clip) -> Path:
        return self._store.folder(clip.id)

    def remove(self, clip_id: str) -> None:
        """Cancel or remove a clip and all its files; returns when they are gone.

        Raises ``StorageError`` where the database has no room to forget it: the clip is then shown without
        its files, never as one that waits, until it is removed once more.
        """
        with self._changed:
            if clip_id not in self._clips:
                raise ClipNotFoundError("there is no clip of this id; it may have been removed")
            if clip_id in self._waiting:
                self._waiting.remove(clip_id)
            if stop := self._running.get(clip_id):
                stop.set()
            self._changed.wait_for(lambda: clip_id not in self._running, STOP_SECONDS)
        try:
            self._store.delete([clip_id])
        except StorageError:
            self._show(self._emptied(self.get(clip_id)))
            raise
        with self._changed:
            self._clips.pop(clip_id, None)

    def tidy(self) -> None:
        """Remove clips that were finished longer ago than they are kept."""
        oldest = self._clock() - self.limits.keep_seconds
        for clip in self.all():
            if clip.is_finished and (clip.finished_at or clip.created_at) < oldest:
                self.remove(clip.id)

    def _used(self) -> int:
        return sum(clip.size for clip in self._clips.values()) + sum(one.size for one in self._reservations)

    def _crashed(self, clip: Clip, reason: str) -> Clip:
        """The clip after an attempt that was cut short: it waits for another, or has failed."""
        clip = replace(clip, crashes=clip.crashes + 1)
        if clip.crashes < self.limits.crashes:
            return clip.again()
        return clip.failed(f"given up after {clip.crashes} crashes: {reason}", self._clock())

    def _emptied(self, clip: Clip) -> Clip:
        if not clip.is_finished:
            clip = clip.failed(
                "its files are removed; remove it once more to have it forgotten", self._clock()
            )
        return replace(clip, size=0)

    def _end_open_events(self, clip: Clip) -> Future[Any]:
        with self._changed:
            frames = self._clips.get(clip.id, clip).frames
        return self._log.end_open_events(EndReason.SOURCE_LOST, clip.id, seen=frames / clip.video.fps)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
                if self._closing.is_set():
                    return
                clip_id = self._waiting.popleft()
                stop = self._running[clip_id] = threading.Event()
                clip = self._clips[clip_id]
            try:
                self._see_through(clip, stop)
            except StorageError as error:  # it was removed, or the next start takes care of it
                logger.warning("clip %s was left as it is: %s", clip_id, error)
            except Exception:
                logger.exception("the queue could not see clip %s through", clip_id)
                failed = clip.failed("an internal error", self._clock())
                self._show(failed)
                with suppress(StorageError):
                    self._store.save(failed)
                self._store.clear(failed)
            finally:
                with self._changed:
                    del self._running[clip_id]
                    if not stop.is_set() and self._clips[clip_id].state is ClipState.QUEUED:
                        self._waiting.append(clip_id)
                    self._changed.notify_all()

    def _see_through(self, clip: Clip, stop: threading.Event) -> None:
        """Make an attempt at a clip, and store what came of it, or leave off once ``stop`` is set."""
        try:
            outcome = self._attempt(clip, stop)
            patiently(stop, lambda: self._store.save(outcome).result())
        except process.StoppedError:
            self._end_open_events(clip).result()
            if self._closing.is_set():  # else it was removed
                begun = self.get(clip.id).state is ClipState.RUNNING
                self._store.save(clip.again() if begun else clip).result()
            return
        if outcome.is_finished:
            self._store.clear(outcome)
        self._show(outcome)

    def _attempt(self, clip: Clip, stop: threading.Event) -> Clip:
        """Work on a clip; returns it done, failed, or as it waits for another attempt."""
        running = replace(clip, state=ClipState.RUNNING, started_at=self._clock(), frames=0)
        follower = Follower(running, self._log, self._show, stop)
        try:
            finished = patiently(
                stop,
                lambda: self._run(running, stop, follower),
                lambda reason: self._show(replace(clip, held_up=reason)),
            )
        except ClipFailedError as error:
            logger.warning("clip %s, attempt %d: %s", clip.id, clip.attempt, error)
            patiently(stop, lambda: self._end_open_events(clip).result())
            if isinstance(error, process.CrashedError):
                return self._crashed(follower.clip, str(error))
            return follower.clip.failed(str(error), self._clock())
        done = follower.finish(finished, self._clock())
        return replace(done, size=self._store.result_bytes(clip.id))

    def _run(self, clip: Clip, stop: threading.Event, follower: Follower) -> Finished:
        task = self._task(clip)
        self._store.save(clip).result()
        self._show(clip)
        return process.run(task, self.provider, self.limits, stop, follower.hear)

    def _task(self, clip: Clip) -> ClipTask:
        """Raises ``StorageError`` while there is no room for the results."""
        with self._changed:
            used = self._used()
        return ClipTask(
            source=self._store.source(clip.id),
            folder=self._store.folder(clip.id),
            name=clip.name,
            stream=clip.attempt_name,
            video=clip.video,
            options=clip.options,
            memory=self.limits.memory,
            file_bytes=room.for_results(clip.video, self.limits, used, self._store.free_bytes()),
        )

    def _show(self, clip: Clip) -> None:
        with self._changed:
            if clip.id in self._clips:
                self._clips[clip.id] = clip
