"""Recordings: real files, read back with another program's reader."""

from __future__ import annotations

import itertools
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from service.sinks.avi import AviWriter
from service.sinks.mjpg_file import encode_jpeg
from service.streams import recording, recording_file
from service.streams.recording import ContinuousRecorder, EventRecorder
from service.streams.recording_file import Shot, adopt
from service.types import EndReason, Event, EventMessage, EventPhase, Image
from tests.service.fakes import read_video
from tests.service.streams.cameras import wait_until

FPS = 10.0


def shot(number: int, *, pts: float | None = None, size: tuple[int, int] = (64, 48)) -> Shot:
    """A frame whose brightness is twice its number."""
    image: Image = np.full((size[1], size[0], 3), 2 * number, np.uint8)
    return Shot(number / FPS if pts is None else pts, size[0], size[1], encode_jpeg(image))


def message(
    phase: EventPhase, start: float, end: float | None = None, event: str = "cam.1-1"
) -> EventMessage:
    reason = None if end is None else EndReason.EXIT
    return EventMessage(1, phase, Event(event, "cam", "x", start, end, 1.0, 1.0, 0.5, reason))


def no_space(self: AviWriter, jpeg: bytes) -> None:
    raise OSError(28, "No space left on device")


class Recorder:
    """An event recorder and what it has told."""

    def __init__(
        self,
        folder: Path,
        before: float = 1.0,
        after: float = 0.5,
        segment: float = 600.0,
        detection: float = 3.0,
    ) -> None:
        self.folder = folder
        self.told: list[tuple[str | None, str]] = []
        self.recorder = EventRecorder(
            *(folder, before, after, segment, FPS),
            lambda event, file: self.told.append((event, file)),
            lambda: detection,
        )

    def add(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.recorder.add(shot(number))

    def note(self, phase: EventPhase, start: float, end: float | None = None, event: str = "cam.1-1") -> None:
        self.recorder.note([message(phase, start, end, event)])

    def numbers(self, index: int = 0) -> list[int]:
        """The numbers of the frames in a file, by their brightness."""
        return numbers(self.folder / self.told[index][1])


def numbers(path: Path) -> list[int]:
    images, fps = read_video(path)
    assert fps == FPS
    return [round(float(image.mean()) / 2) for image in images]


def test_an_event_with_its_margins(tmp_path: Path) -> None:
    """From ``before`` seconds before the true start, though it was announced later, to ``after`` its end."""
    recorder = Recorder(tmp_path / "new")
    recorder.add(0, 36)
    recorder.note(EventPhase.STARTED, 3.0)
    recorder.add(36, 50)
    recorder.note(EventPhase.UPDATED, 3.0)
    recorder.note(EventPhase.ENDED, 3.0, 4.8)
    recorder.add(50, 70)
    wait_until(lambda: recorder.told)
    assert recorder.told == [("cam.1-1", "cam.1-1.avi")]
    assert recorder.numbers() == list(range(20, 54))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cam.1-1.avi"]


def test_the_next_event_begins_in_the_margin(tmp_path: Path) -> None:
    """The first file ends there, the second has its own margin from what is kept."""
    recorder = Recorder(tmp_path, before=0.5, after=5.0)
    recorder.add(0, 10)
    recorder.note(EventPhase.STARTED, 0.5)
    recorder.add(10, 20)
    recorder.note(EventPhase.ENDED, 0.5, 1.8)
    recorder.note(EventPhase.STARTED, 1.8, event="cam.1-2")
    recorder.add(20, 30)
    recorder.recorder.close(10.0)
    recorder.told.sort()
    assert [event for event, _ in recorder.told] == ["cam.1-1", "cam.1-2"]
    assert (recorder.numbers(0), recorder.numbers(1)) == (list(range(20)), list(range(13, 30)))


def test_holes_are_filled_and_haste_is_thinned(tmp_path: Path) -> None:
    """The video lasts as long as what it shows, however irregular the frames are."""
    recorder = Recorder(tmp_path)
    recorder.note(EventPhase.STARTED, 0.0)
    for number, pts in enumerate([0.0, 0.04, 0.1, 0.6, 0.71, 0.8]):
        recorder.recorder.add(shot(number * 10, pts=pts))
    recorder.recorder.close(10.0)
    assert recorder.numbers() == [0, 20, 20, 20, 20, 20, 30, 40, 50]


def test_a_jump_of_the_clock_is_bounded(tmp_path: Path) -> None:
    """A time that leaps does not fill the disk with one picture."""
    recorder = Recorder(tmp_path, segment=1e9)
    recorder.note(EventPhase.STARTED, 0.0)
    for number, pts in enumerate([0.0, 1e6, 1e6 + 0.1]):
        recorder.recorder.add(shot(number, pts=pts))
    recorder.recorder.close(20.0)
    assert len(recorder.numbers()) == 1 + 600 + 2


def test_another_size_is_fitted(tmp_path: Path) -> None:
    """A file has one size: that of its first frame."""
    recorder = Recorder(tmp_path)
    recorder.note(EventPhase.STARTED, 0.0)
    recorder.recorder.add(shot(50))
    recorder.recorder.add(shot(51, size=(32, 24)))
    recorder.recorder.close(10.0)
    assert recorder.numbers() == [50, 51]


def test_the_ring_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pictures and long margins do not eat the memory."""
    size = len(shot(0).jpeg)
    monkeypatch.setattr(recording, "RING_BYTES", 5 * size + size // 2)
    recorder = Recorder(tmp_path, before=100.0)
    recorder.add(0, 50)
    recorder.note(EventPhase.STARTED, 4.9)
    recorder.recorder.close(10.0)
    assert recorder.numbers() == list(range(45, 50))


def test_what_cannot_be_written_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk ends the recording, leaves nothing behind, and the next one is tried again."""
    recorder = Recorder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(AviWriter, "write", no_space)
        recorder.note(EventPhase.STARTED, 0.0)
        recorder.add(0, 1)
        wait_until(lambda: "No space left" in caplog.text)
        recorder.add(1, 100)
        recorder.note(EventPhase.ENDED, 0.0, 9.9)
        recorder.recorder.close(10.0)
    assert (recorder.told, list(tmp_path.iterdir())) == ([], [])
    recorder.note(EventPhase.STARTED, 10.0, event="cam.1-2")
    recorder.add(100, 105)
    recorder.recorder.close(10.0)
    assert recorder.told == [("cam.1-2", "cam.1-2.avi")]


def stall(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have the disk stand still: the first event is set when it does, the second lets it go on."""
    stalled, resume = threading.Event(), threading.Event()
    original = AviWriter.write

    def slow(self: AviWriter, jpeg: bytes) -> None:
        stalled.set()
        resume.wait(20)
        original(self, jpeg)

    monkeypatch.setattr(AviWriter, "write", slow)
    return stalled, resume


def test_a_disk_that_stands_still_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures wait for the disk up to a bound; then the recording ends, and keeps what it has."""
    stalled, resume = stall(monkeypatch)
    recorder = Recorder(tmp_path)
    recorder.note(EventPhase.STARTED, 0.0)
    recorder.add(0, 1)
    assert stalled.wait(20)
    recorder.add(1, 100)
    resume.set()
    recorder.recorder.close(10.0)
    assert "too slow" in caplog.text
    assert recorder.numbers()[0] == 0
    assert len(recorder.numbers()) < 70


def test_a_disk_that_stands_still_gathers_no_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one file cannot be written, no other is begun: an hour of it costs what a minute does."""
    _, resume = stall(monkeypatch)
    told: list[str] = []
    recorder = continuous(tmp_path, told)
    before = threading.active_count()
    for number in range(3000):
        recorder.add(Shot(number / FPS, 64, 48, b"jpeg"))
    assert threading.active_count() <= before + recording.MOST_WRITERS
    resume.set()
    recorder.close(10.0)


def test_an_event_is_recorded_as_soon_as_the_disk_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that begins while the disk holds up all files is not left out: that is told, and tried again."""
    stalled, resume = stall(monkeypatch)
    monkeypatch.setattr(recording, "MOST_WRITERS", 1)
    recorder = Recorder(tmp_path, after=0.0)
    recorder.note(EventPhase.STARTED, 0.0)
    recorder.add(0, 5)
    assert stalled.wait(20)
    recorder.note(EventPhase.ENDED, 0.0, 0.4)
    recorder.note(EventPhase.STARTED, 0.5, event="cam.1-2")
    recorder.add(5, 10)
    recorder.note(EventPhase.ENDED, 0.5, 0.9, event="cam.1-2")
    recorder.add(10, 15)
    recorder.note(EventPhase.STARTED, 1.5, event="cam.1-3")
    recorder.add(15, 20)
    assert caplog.text.count("the disk holds up 1") == 1
    assert "cam.1-2 is not recorded" in caplog.text
    resume.set()
    wait_until(lambda: recorder.told)
    recorder.add(20, 25)
    recorder.recorder.close(10.0)
    assert [event for event, _ in recorder.told] == ["cam.1-1", "cam.1-3"]
    assert recorder.numbers(1) == list(range(5, 25))


def test_a_long_event_outlasts_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its recording goes on in another part some seconds after one had to be given up."""
    recorder = Recorder(tmp_path)
    recorder.note(EventPhase.STARTED, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(AviWriter, "write", no_space)
        recorder.add(0, 1)
        wait_until(lambda: "No space left" in caplog.text)
    recorder.add(1, 110)
    recorder.recorder.close(10.0)
    assert recorder.told == [("cam.1-1", "cam.1-1.2.avi")]
    assert recorder.numbers() == list(range(100, 110))


def test_a_disk_that_fills_up_costs_what_finds_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before is a recording as any other."""
    original = AviWriter.write

    def filling(self: AviWriter, jpeg: bytes) -> None:
        if self.frames == 20:
            raise OSError(28, "No space left on device")
        original(self, jpeg)

    monkeypatch.setattr(AviWriter, "write", filling)
    monkeypatch.setattr(recording_file, "FLUSH_SECONDS", 0.0)
    recorder = Recorder(tmp_path)
    recorder.note(EventPhase.STARTED, 0.0)
    recorder.add(0, 40)
    recorder.recorder.close(10.0)
    assert recorder.numbers() == list(range(20))


def test_a_long_event_has_several_files(tmp_path: Path) -> None:
    """None grows without end; together they have every frame."""
    recorder = Recorder(tmp_path, before=0.0, segment=2.0)
    recorder.add(0, 10)
    recorder.note(EventPhase.STARTED, 0.0)
    recorder.add(10, 50)
    recorder.recorder.close(10.0)
    recorder.told.sort(key=lambda told: (len(told[1]), told[1]))
    assert recorder.told == [("cam.1-1", f"cam.1-1{part}.avi") for part in ("", ".2", ".3")]
    assert [number for part in range(3) for number in recorder.numbers(part)] == list(range(50))


def test_a_name_stays_in_its_folder(tmp_path: Path) -> None:
    """Whatever is in the id of an event, its file lies in the folder."""
    recorder = Recorder(tmp_path)
    recorder.note(EventPhase.STARTED, 0.0, event="../up/ä b")
    recorder.add(0, 2)
    recorder.recorder.close(10.0)
    assert recorder.told == [("../up/ä b", "_up___b.avi")]
    assert [path.name for path in tmp_path.iterdir()] == ["_up___b.avi"]


def continuous(folder: Path, told: list[str], clock: float = 1_800_000_000.0) -> ContinuousRecorder:
    seconds = itertools.count()
    return ContinuousRecorder(
        folder, 3.0, FPS, lambda event, file: told.append(file), lambda: clock + next(seconds)
    )


def test_everything_in_parts(tmp_path: Path) -> None:
    """Every frame is in one file or another, each of which bears the time at which it begins."""
    told: list[str] = []
    recorder = continuous(tmp_path, told)
    for number in range(70):
        recorder.add(shot(number))
        if number == 45:
            recorder.note([message(EventPhase.STARTED, 4.0)])
    recorder.close(10.0)
    told.sort()
    assert told == [f"20270115T08000{second}.000000Z.avi" for second in range(3)]
    parts = [numbers(tmp_path / name) for name in told]
    assert parts == [list(range(30)), list(range(30, 60)), list(range(60, 70))]
    assert sorted(path.name for path in tmp_path.iterdir()) == told


def test_a_clock_set_back_begins_a_new_part(tmp_path: Path) -> None:
    """Media time that starts anew does not make a file that never ends."""
    told: list[str] = []
    recorder = continuous(tmp_path, told)
    for number, pts in enumerate([5.0, 5.1, 0.0, 0.1, 0.2]):
        recorder.add(shot(number, pts=pts))
    recorder.close(10.0)
    assert [numbers(tmp_path / name) for name in sorted(told)] == [[0, 1], [2, 3, 4]]


def test_a_full_disk_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes on for months must outlive a full disk: nothing is left of the part that failed."""
    told: list[str] = []
    recorder = continuous(tmp_path, told)
    with monkeypatch.context() as patch:
        patch.setattr(AviWriter, "write", no_space)
        for number in range(20):
            recorder.add(shot(number))
        wait_until(lambda: "No space left" in caplog.text)
        wait_until(lambda: not list(tmp_path.iterdir()))
    for number in range(20, 40):
        recorder.add(shot(number))
    recorder.close(10.0)
    assert [numbers(tmp_path / name) for name in told] == [list(range(30, 40))]


def test_what_a_killed_writer_left_gets_its_name(tmp_path: Path) -> None:
    """It plays up to its last flush; without a frame it goes."""
    for name, frames in (("a.avi.part", 5), ("empty.avi.part", 0)):
        with (tmp_path / name).open("wb") as file:
            writer = AviWriter(file, 64, 48, Fraction(10))
            for number in range(frames):
                writer.write(shot(number).jpeg)
            writer.flush()  # and never closed
    (tmp_path / "cut.avi.part").write_bytes(b"RIFF")
    (tmp_path / "b.avi").write_bytes(b"whole")
    (tmp_path / "notes.part").write_bytes(b"somebody else's")
    assert adopt(tmp_path) == ["a.avi"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.avi", "b.avi", "notes.part"]
    assert numbers(tmp_path / "a.avi") == list(range(5))
    assert adopt(tmp_path / "nowhere") == []


def test_the_end_of_an_earlier_event_ends_no_later_one(tmp_path: Path) -> None:
    """It may be told when the next one has begun already."""
    recorder = Recorder(tmp_path, before=0.0, after=0.0)
    recorder.note(EventPhase.STARTED, 0.0)
    recorder.add(0, 5)
    recorder.note(EventPhase.STARTED, 0.5, event="cam.1-2")
    recorder.add(5, 7)
    recorder.note(EventPhase.ENDED, 0.0, 0.6)
    recorder.add(7, 20)
    recorder.recorder.close(10.0)
    files = dict(recorder.told)
    assert numbers(tmp_path / files["cam.1-2"]) == list(range(5, 20))
