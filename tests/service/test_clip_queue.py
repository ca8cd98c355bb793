"""The queue of clips on a disk that has no room, or too little; what a clip's process does is played here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from service import event_log
from service.clips import follower, process, queue, room, store
from service.clips.messages import Finished, Happened, Report, Working
from service.clips.queue import ClipQueue
from service.clips.records import Clip, ClipLimits, ClipOptions, ClipState, VideoFacts
from service.clips.store import ClipStore
from service.clips.worker import ClipTask
from service.database import Database
from service.errors import ClipFailedError, QueueFullError, QuotaError, StoppingError, StorageError
from service.event_log import EventLog
from service.types import EndReason, Event, EventMessage, EventPhase
from tests.service.api.conftest import make_clip, until
from tests.service.api.fakes import ColourProvider

VIDEO = VideoFacts(64, 48, 10.0, 70)


@dataclass
class Disk:
    """A disk that is full while ``is_full`` is set, and has ``free`` bytes."""

    is_full: threading.Event
    free: int = 1 << 30


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(threading.Event())
    write = Database.write

    def write_if_there_is_room(self: Database, *task: Any) -> Future[Any]:
        if not disk.is_full.is_set():
            return write(self, *task)
        refused: Future[Any] = Future()
        refused.set_exception(StorageError("database or disk is full"))
        return refused

    monkeypatch.setattr(Database, "write", write_if_there_is_room)
    monkeypatch.setattr(ClipStore, "free_bytes", lambda self: disk.free)
    monkeypatch.setattr(follower, "AGAIN_SECONDS", 0.02)
    return disk


@dataclass
class Queued:
    queue: ClipQueue
    log: EventLog
    store: ClipStore

    def state(self, clip: Clip) -> ClipState:
        return self.queue.get(clip.id).state


@contextmanager
def opened(folder: Path, **limits: int) -> Iterator[Queued]:
    with Database(folder / "x.db", event_log.SCHEMA + store.SCHEMA) as database:
        log, clips = EventLog(database), ClipStore(database, folder / "clips")
        one = ClipQueue(clips, log, ColourProvider(), ClipLimits(**{"free_bytes": 0} | limits))
        try:
            yield Queued(one, log, clips)
        finally:
            one.close()


def left_behind(folder: Path, video: VideoFacts = VIDEO) -> Clip:
    """A clip of 1000 bytes that another life of the service has taken in."""
    with opened(folder) as queued:
        reservation = queued.queue.admit(0)
        reservation.source.write_bytes(b"x" * 1000)
        clip = queued.queue.add(reservation, "film.mp4", video, ClipOptions())
        queued.queue.release(reservation)
    return clip


def working(disk: Disk, stage: str) -> Callable[..., Finished]:
    """Plays the process of a clip: one event begins and ends; the disk, or memory, is full at ``stage``."""
    stages = [stage]

    def run(
        task: ClipTask,
        provider: object,
        limits: ClipLimits,
        stop: threading.Event,
        on_report: Callable[[Report], None],
    ) -> Finished:
        if "process" in stages:
            stages.remove("process")
            raise BlockingIOError("no more processes")
        for phase in (EventPhase.STARTED, EventPhase.ENDED):
            if phase.value in stages:
                stages.remove(phase.value)
                disk.is_full.set()
            end = (5.0, EndReason.EXIT) if phase is EventPhase.ENDED else (None, None)
            event = Event(f"{task.stream}-000001", "?", "red", 1.0, end[0], 0.9, 0.9, 0.1, end[1])
            on_report(Happened(EventMessage(0, phase, event)))
        if "results" in stages:
            stages.remove("results")
            disk.is_full.set()
        (task.folder / "clip.events.json").write_bytes(bytes(100))
        return Finished(70, 7.0, None)

    return run


@pytest.mark.parametrize("stage", ["its turn", "process", "started", "ended", "results"])
def test_a_disk_that_is_full_for_a_moment_costs_no_clip(
    tmp_path: Path,
    disk: Disk,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever cannot be stored, or begun, waits until it can; nothing is done or told twice."""
    monkeypatch.setattr(process, "run", working(disk, stage))
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        if stage == "its turn":
            disk.is_full.set()
        queued.queue.start()
        until(lambda: "waits for room" in caplog.text)
        assert stage == "process" or queued.state(clip) in (ClipState.QUEUED, ClipState.RUNNING)
        disk.is_full.clear()
        until(lambda: queued.state(clip) is ClipState.DONE)
        done = queued.queue.get(clip.id)
        assert (done.attempt, done.size, done.error) == (1, 100, None)
        assert not queued.store.source(clip.id).exists()
        assert queued.store.load() == (done,)
        page = queued.log.query(event_log.EventQuery(stream=clip.id)).result()
        assert [one.message.phase for one in page.messages] == [EventPhase.STARTED, EventPhase.ENDED]


@pytest.mark.parametrize("stage", ["its turn", "ended", "results"])
def test_a_clip_that_waits_for_the_disk_outlives_the_service(
    tmp_path: Path,
    disk: Disk,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The service ends while the disk is full: the next one, which finds room, works on the clip again."""
    monkeypatch.setattr(process, "run", working(disk, stage))
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        if stage == "its turn":
            disk.is_full.set()
        queued.queue.start()
        until(lambda: "waits for room" in caplog.text)
    disk.is_full.clear()
    with opened(tmp_path) as queued:
        queued.queue.start()
        until(lambda: queued.state(clip) is ClipState.DONE)
        (event,) = queued.log.events(clip.id, f"{queued.queue.get(clip.id).attempt_name}-").result()
        assert event.end_reason is EndReason.EXIT


@pytest.mark.parametrize("crashes", [1, 2])
def test_a_clip_whose_process_is_killed_is_worked_on_again(
    tmp_path: Path, disk: Disk, crashes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, from its upload; a clip that has crashed its process twice fails, and nothing of it is left."""
    left = [crashes]

    def run(task: ClipTask, *more: Any) -> Finished:
        finished = working(disk, "never")(task, *more)
        (task.folder / "annotated.avi.part").touch()
        if left[0]:
            left[0] -= 1
            raise process.CrashedError("the decoding process was ended by signal 9")
        assert task.source.stat().st_size == 1000
        return finished

    monkeypatch.setattr(process, "run", run)
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        queued.queue.start()
        until(lambda: queued.queue.get(clip.id).is_finished)
        ended = queued.queue.get(clip.id)
        assert (ended.attempt, ended.crashes) == (2, crashes)
        assert queued.store.load() == (ended,)
        if crashes == 1:
            assert ended.state is ClipState.DONE
        else:
            assert ended.error == "given up after 2 crashes: the decoding process was ended by signal 9"
            assert (ended.size, queued.queue.folder(clip).exists()) == (0, False)


@pytest.mark.parametrize(("quota", "free", "expected"), [(1000, 70, 30), (70, 1000, 35), (1000, 1000, 495)])
def test_results_leave_the_disk_its_reserve(
    tmp_path: Path,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    quota: int,
    free: int,
    expected: int,
) -> None:
    """A file may grow to its share of what quota and disk have left, in MiB; the reserve is not touched."""
    sizes = []

    def run(task: ClipTask, *more: object) -> Finished:
        sizes.append(round(task.file_bytes / (1 << 20)))
        return Finished(70, 7.0, None)

    monkeypatch.setattr(process, "run", run)
    clip = left_behind(tmp_path)
    disk.free = free << 20
    with opened(tmp_path, quota_bytes=quota << 20, free_bytes=10 << 20, parallel=2) as queued:
        queued.queue.start()
        until(lambda: queued.state(clip) is ClipState.DONE)
    assert sizes == [expected]


def test_a_clip_waits_until_there_is_room_for_its_video(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays queued, and says why, also over a restart; its upload is kept."""
    monkeypatch.setattr(process, "run", working(disk, "never"))
    disk.free = 30 << 20
    large = VideoFacts(1000, 1000, 10.0, 100)
    clip = left_behind(tmp_path, large)
    limits = {"free_bytes": 10 << 20}
    for _ in range(2):
        with opened(tmp_path, **limits) as queued:
            queued.queue.start()
            until(lambda: queued.queue.get(clip.id).held_up)
            waiting = queued.queue.get(clip.id)
            assert waiting.held_up == (
                "the disk of this service is nearly full: the annotated video needs about 21 MiB"
            )
            assert (waiting.state, waiting.attempt) == (ClipState.QUEUED, 1)
            assert queued.store.source(clip.id).exists()
    with opened(tmp_path, **limits) as queued:
        queued.queue.start()
        until(lambda: queued.queue.get(clip.id).held_up)
        disk.free += 2 << 20
        until(lambda: queued.state(clip) is ClipState.DONE)
        done = queued.queue.get(clip.id)
        assert (done.held_up, done.attempt) == (None, 1)


def test_uploads_leave_room_for_results(tmp_path: Path, disk: Disk) -> None:
    """However much waits, the next clip can begin: nobody has to make room for it."""
    with opened(tmp_path, quota_bytes=8000, parallel=2) as queued:
        queued.queue.admit(7000)
        with pytest.raises(QuotaError):
            queued.queue.admit(1)
        endless = VideoFacts(1920, 1080, 25.0, 1_000_000)
        limits = queued.queue.limits
        assert room.for_results(endless, limits, used=7000, free=1 << 40) == 500
        with pytest.raises(StorageError, match="the space for clips is used up"):
            room.for_results(endless, limits, used=7002, free=1 << 40)
        with pytest.raises(StorageError, match="nearly full"):
            room.for_results(replace(endless, frame_count=None), limits, used=0, free=998)


@pytest.mark.parametrize("state", [ClipState.QUEUED, ClipState.RUNNING])
def test_a_removed_clip_that_cannot_be_forgotten_does_not_wait_for_ever(
    tmp_path: Path, disk: Disk, state: ClipState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when it is removed: its files are gone, which is told, and it can be removed again."""

    def run(
        task: ClipTask, provider: object, limits: object, stop: threading.Event, *more: object
    ) -> Finished:
        stop.wait()
        raise process.StoppedError

    monkeypatch.setattr(process, "run", run)
    clips = {one: left_behind(tmp_path) for one in (ClipState.RUNNING, ClipState.QUEUED)}
    clip = clips[state]
    with opened(tmp_path) as queued:
        queued.queue.start()
        until(lambda: queued.state(clips[ClipState.RUNNING]) is ClipState.RUNNING)
        disk.is_full.set()
        with pytest.raises(StorageError):
            queued.queue.remove(clip.id)
        removed = queued.queue.get(clip.id)
        assert (removed.state, removed.size) == (ClipState.FAILED, 0)
        assert removed.error == "its files are removed; remove it once more to have it forgotten"
        disk.is_full.clear()
        queued.queue.remove(clip.id)
        assert clip.id not in [one.id for one in queued.queue.all() + queued.store.load()]


def test_an_upload_that_cannot_be_stored_keeps_no_place(tmp_path: Path) -> None:
    """A disk that is gone for a while does not fill the queue with clips that never came."""
    with opened(tmp_path, waiting=1) as queued:
        (tmp_path / "clips").rename(tmp_path / "away")
        for _ in range(2):
            with pytest.raises(StorageError, match="No such file or directory") as caught:
                queued.queue.admit(1)
            assert str(tmp_path) not in str(caught.value)
        (tmp_path / "away").rename(tmp_path / "clips")
        queued.queue.admit(1)


def test_what_is_left_of_an_upload_is_removed(tmp_path: Path, disk: Disk) -> None:
    """A service killed between storing that a clip is done and removing its upload does not keep that."""
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        queued.store.save(replace(clip, state=ClipState.DONE)).result()
        assert queued.store.source(clip.id).exists()
    with opened(tmp_path) as queued:
        queued.queue.start()
        assert queued.state(clip) is ClipState.DONE
        assert not queued.store.source(clip.id).exists()


def test_an_examination_ends_with_the_service(tmp_path: Path) -> None:
    """A first frame that takes its time to be decoded does not hold up the end."""
    clip = make_clip(tmp_path / "clip.avi")
    with opened(tmp_path) as queued:
        assert queued.queue.examine(clip, "clip.avi").width == 64
        queued.queue.close()
        with pytest.raises(StoppingError):
            queued.queue.examine(clip, "clip.avi")


def test_a_clip_that_fails_leaves_no_event_open(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its process had begun to tell is ended, as nobody else will end it, where it was seen last."""

    def run(task: ClipTask, *more: Any) -> Finished:
        event = Event(f"{task.stream}-000001", "?", "red", 1.0, None, 0.9, 0.9, 0.1)
        more[-1](Happened(EventMessage(0, EventPhase.STARTED, event)))
        more[-1](Working(round(3 * task.video.fps)))
        raise ClipFailedError("it cannot be decoded")

    monkeypatch.setattr(process, "run", run)
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        queued.queue.start()
        until(lambda: queued.state(clip) is ClipState.FAILED)
        (event,) = queued.log.events(clip.id).result()
        assert (event.end_pts, event.end_reason) == (pytest.approx(3.0), EndReason.SOURCE_LOST)


@dataclass
class Slow:
    """Plays the process of a clip that takes a while to end once it is stopped."""

    began: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(
        self, task: ClipTask, provider: object, limits: ClipLimits, stop: threading.Event, *more: Any
    ) -> Finished:
        self.began.set()
        assert stop.wait(10)
        self.may_end.wait(10)
        self.ended.set()
        raise process.StoppedError


def test_a_clip_is_removed_when_its_process_is_gone(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: it would go on writing into a folder that is no more."""
    slow = Slow()
    monkeypatch.setattr(process, "run", slow.run)
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        queued.queue.start()
        assert slow.began.wait(10)
        threading.Timer(0.1, slow.may_end.set).start()
        queued.queue.remove(clip.id)
        assert slow.ended.is_set()
        assert not queued.store.folder(clip.id).exists()


def test_a_removed_clip_does_not_come_back(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its process ended only after it was forgotten; only who is shut down is queued again."""
    slow = Slow()
    monkeypatch.setattr(process, "run", slow.run)
    monkeypatch.setattr(queue, "STOP_SECONDS", 0.0)
    clip = left_behind(tmp_path)
    with opened(tmp_path) as queued:
        queued.queue.start()
        assert slow.began.wait(10)
        queued.queue.remove(clip.id)
        slow.may_end.set()
        until(lambda: not queued.queue._running)
        assert queued.store.load() == ()


def test_uploads_on_their_way_take_places(tmp_path: Path, disk: Disk) -> None:
    """As many as may wait may come in at once; one that is broken off gives its place back."""
    with opened(tmp_path, waiting=1) as queued:
        reservation = queued.queue.admit(0)
        with pytest.raises(QueueFullError):
            queued.queue.admit(0)
        queued.queue.release(reservation)
        queued.queue.release(queued.queue.admit(0))


def test_bytes_that_have_come_count_once(tmp_path: Path, disk: Disk) -> None:
    """An upload that grows bit by bit to what uploads may take is taken; a byte more is not, nor another."""
    with opened(tmp_path, quota_bytes=1000) as queued:
        most = room.for_uploads(queued.queue.limits)
        reservation = queued.queue.admit(0)
        for size in (most - 400, most - 100, most):
            queued.queue.grow(reservation, size)
        with pytest.raises(QuotaError):
            queued.queue.grow(reservation, most + 1)
        with pytest.raises(QuotaError):
            queued.queue.admit(1)


def test_a_clip_is_kept_from_its_end_on(tmp_path: Path, disk: Disk) -> None:
    """However long it has waited and was worked on, its results stay as long as promised."""
    clip = left_behind(tmp_path)
    with opened(tmp_path, keep_seconds=3600) as queued:
        done = replace(clip, state=ClipState.DONE, created_at=1.0, finished_at=time.time())
        for one in (done, replace(done, id="clip_old", finished_at=2.0)):
            queued.store.save(one).result()
        queued.queue.start()
        queued.queue.tidy()
        assert [one.id for one in queued.queue.all()] == [clip.id]
