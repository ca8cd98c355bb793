"""The process of a stream, with real files and a real network camera that misbehaves on command."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.addresses import Pinned
from service.backoff import Backoff
from service.config import RunSettings
from service.errors import ConfigurationError, SourceError
from service.pipeline import run
from service.sinks.avi import count_frames
from service.sources import open_source
from service.streams import process
from service.streams.messages import (
    MAX_BYTES,
    Announced,
    Labelled,
    Measured,
    Opened,
    Picture,
    Recorded,
    Standing,
    Told,
    decode,
)
from service.streams.outlet import Sender
from service.streams.playback import PacedSource
from service.streams.process import StreamTask, run_stream
from service.streams.records import Record, StreamOptions
from service.streams.session import Limits
from service.supervisor import ChildSpec, ChildStatus, Supervisor
from service.types import EndReason, EventPhase, StreamState
from tests.service.fakes import read_video
from tests.service.live import TIMED, within
from tests.service.streams.cameras import (
    LIMITS,
    QUICK,
    BrightClassifier,
    BrightModel,
    Camera,
    Running,
    camera,
    picture,
    running,
    task_of,
    wait_until,
)

LIVE, LOST = StreamState.LIVE, StreamState.LOST
SOON = 4.0
"""Seconds; a tenth of it where the machine has nothing else to do."""
pytestmark = TIMED


@pytest.fixture
def cam() -> Iterator[Camera]:
    with camera() as one:
        yield one


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Three seconds at 20 fps: dim, bright, dim."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (96, 64))
    for i in range(60):
        writer.write(picture("bright" if 20 <= i < 40 else "dim", i))
    writer.release()
    return path


def ended(stream: Running) -> Announced:
    wait_until(lambda: stream.phases(EventPhase.ENDED))
    return stream.phases(EventPhase.ENDED)[-1]


def test_a_file_is_played_slower_where_the_network_has_no_time(film: Path) -> None:
    """Every frame still comes, no sooner than the limit of the moment allows, and on time without."""
    limit: list[float | None] = [None]
    with open_source(str(film)) as source, PacedSource(source, lambda: True, lambda: limit[0]) as paced:
        taken = [paced.read() for _ in range(5)]
        limit[0] = 8.0
        taken += [paced.read() for _ in range(5)]
        limit[0] = None
        taken += [paced.read() for _ in range(5)]
    frames = [frame for frame in taken if frame]
    assert [frame.index for frame in frames] == list(range(15))
    gaps = [later.captured_at - before.captured_at for before, later in pairwise(frames)]
    assert min(gaps[4:9]) >= 0.124
    assert sum(gaps[9:]) < 5 * 0.124


def test_lateness_that_cannot_be_made_up_for_is_let_go(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a network that hung the frames come at their pace again, not in a burst as of a film too fast."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr("service.streams.playback.time", clock)
    with open_source(str(film)) as source, PacedSource(source, lambda: True) as paced:
        assert paced.read()
        clock.now += 0.4
        soon = [frame.captured_at for _ in range(12) if (frame := paced.read())]
        clock.now += 10.0
        late = [frame.captured_at for _ in range(12) if (frame := paced.read())]
    assert soon == pytest.approx([1000.4] * 8 + [1000.45, 1000.5, 1000.55, 1000.6])
    assert late == pytest.approx([1010.6 + 0.05 * n for n in range(12)])


def test_a_file_gives_the_events_of_an_upload_at_its_own_pace(film: Path) -> None:
    """One pipeline: a file as a stream gives the same events to the frame, every frame, not too fast."""
    with open_source(str(film)) as source:
        expected = run(source, "x", BrightModel().open_live(lambda: None), QUICK).events
    began = time.monotonic()
    with running(str(film)) as stream:
        stream.wait_for_state(StreamState.ENDED)
        assert time.monotonic() - began >= 59 / 20
        assert [label.index for label in stream.labels()] == list(range(60))
        assert all(label.dropped == 0 for label in stream.labels())
        events = [told.message.event for told in stream.phases(EventPhase.ENDED)]
        assert [(e.label, e.start_pts, e.end_pts, e.end_reason) for e in events] == [
            (e.label, e.start_pts, e.end_pts, e.end_reason) for e in expected
        ]
        assert len(events) == 1
        assert all(told.epoch is None for told in stream.all(Announced))
        assert stream.all(Opened) == [Opened(96, 64, 20.0, False)]
        assert not stream.all(Picture)
        assert stream.child.stopping.is_set() is False
        stream.beats()
        wait_until(stream.beats)


def test_a_file_that_has_ended_lets_go_of_the_network(film: Path, tmp_path: Path) -> None:
    """Which would hold back the batches of others for it, and go easy on uploads."""
    left = tmp_path / "left"
    with running(str(film), BrightModel(left=left)) as stream:
        wait_until(stream.labels)
        assert not left.exists()
        stream.wait_for_state(StreamState.ENDED)
        assert left.exists()


def are_labels_alone(stream: Running, count: int = 5) -> bool:
    """Whether the last labels came without a picture beside them."""
    told = [one for one in list(stream.told) if isinstance(one, Labelled | Picture)]
    return len(told) > count and all(isinstance(one, Labelled) for one in told[-count:])


def test_pictures_are_made_while_somebody_looks(film: Path) -> None:
    """Encoding costs: no picture before the first viewer nor after the last."""
    with running(str(film)) as stream:
        stream.wait_for_state(LIVE)
        stream.watch()
        wait_until(lambda: stream.all(Picture))
        image = cv2.imdecode(np.frombuffer(stream.all(Picture)[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (64, 96, 3)
        stream.watch(False)
        wait_until(lambda: are_labels_alone(stream))


def test_a_file_stops_in_the_middle(film: Path) -> None:
    """Stopping is quick and ends the open event."""
    with running(str(film)) as stream:
        stream.wait_for_event()
        assert stream.stop() < within(SOON)
    assert ended(stream).message.event.end_reason is EndReason.END_OF_STREAM


def test_a_live_source_is_labelled_and_stops(cam: Camera) -> None:
    """States, labels with their age, an event on the wall clock, measurements that add up, a quick end."""
    began = time.monotonic()
    with running(cam.address) as stream:
        event = stream.wait_for_event()
        wait_until(lambda: len(stream.all(Measured)) >= 2)
        assert stream.stop() < within(SOON)
    passed = time.monotonic() - began
    assert stream.states[:2] == [StreamState.CONNECTING, LIVE]
    assert stream.all(Opened)[0].is_live
    assert event.epoch is not None
    assert event.epoch + event.message.event.start_pts == pytest.approx(time.time(), abs=passed + 1)
    label = stream.labels()[-1]
    assert (label.label, [name for name, _ in label.top]) == ("bright", ["bright", "other", "background"])
    assert label.event == event.message.event.id
    assert 0 <= label.age < 5
    assert label.captured_at == pytest.approx(time.time(), abs=passed + 1)
    measured = stream.all(Measured)
    total = sum(m.seconds_watched + m.seconds_dropped + m.seconds_blind for m in measured)
    assert total == pytest.approx(passed, abs=1.0)
    assert sum(m.seconds_watched for m in measured) > 0.5
    assert measured[-1].frames > 5
    last = ended(stream).message.event
    assert (last.id, last.end_reason) == (event.message.event.id, EndReason.END_OF_STREAM)


def test_a_black_picture_is_no_label(cam: Camera) -> None:
    """A covered lens ends the event where the dark began; when it is gone, another begins."""
    with running(cam.address, blind_after=0.5) as stream:
        first = stream.wait_for_event()
        cam.mode = "black"
        at = stream.wait_for_state(StreamState.BLIND)
        last = ended(stream).message.event
        assert last.end_reason is EndReason.BLIND
        labels = len(stream.labels())
        wait_until(lambda: any(m.seconds_blind > 0.5 for m in stream.all(Measured)))
        assert len(stream.labels()) <= labels + 1
        cam.mode = "bright"
        stream.wait_for_state(LIVE, at)
        wait_until(lambda: len(stream.phases(EventPhase.STARTED)) == 2)
        second = stream.phases(EventPhase.STARTED)[1]
    assert second.message.event.id != first.message.event.id
    assert last.end_pts is not None
    assert second.message.event.start_pts > last.end_pts
    assert first.epoch is not None
    assert second.epoch == pytest.approx(first.epoch, abs=0.1)


def test_a_frozen_picture_is_no_label(cam: Camera) -> None:
    """A picture that stands still ends the event at the time from which it stood."""
    with running(cam.address, frozen_after=0.8) as stream:
        stream.wait_for_event()
        cam.mode = "frozen"
        at = stream.wait_for_state(StreamState.FROZEN)
        last = ended(stream).message.event
        assert last.end_reason is EndReason.BLIND
        assert last.end_pts is not None
        newest = max(label.pts for label in stream.labels())
        assert last.end_pts <= newest - 0.4
        cam.mode = "bright"
        stream.wait_for_state(LIVE, at)


def test_a_lost_camera_comes_back(cam: Camera) -> None:
    """The event ends as lost, tries are told with their wait, and a new connection has new event ids."""
    with running(cam.address) as stream:
        first = stream.wait_for_event()
        cam.mode = "closed"
        at = stream.wait_for_state(LOST)
        standing = stream.all(Standing)[at]
        assert standing.reason
        assert standing.wait is not None
        assert 0.3 < standing.wait <= 0.5
        last = ended(stream).message.event
        assert (last.id, last.end_reason) == (first.message.event.id, EndReason.SOURCE_LOST)
        wait_until(lambda: any(s.attempt == 3 for s in stream.all(Standing)))
        cam.mode = "bright"
        stream.wait_for_state(LIVE, at)
        wait_until(lambda: len(stream.phases(EventPhase.STARTED)) == 2)
        second = stream.phases(EventPhase.STARTED)[1]
    assert second.message.event.id.partition("-")[0] != first.message.event.id.partition("-")[0]
    assert len(stream.all(Opened)) == 2


def test_a_hung_camera_stalls_and_is_lost(cam: Camera) -> None:
    """Nothing comes any more: stalled with the event still open, then lost; signs of life all along."""
    with running(cam.address) as stream:
        stream.wait_for_event()
        cam.mode = "hang"
        at = stream.wait_for_state(StreamState.STALLED)
        assert not stream.phases(EventPhase.ENDED)
        stream.beats()
        at = stream.wait_for_state(LOST, at)
        assert len(stream.beats()) >= 2
        assert ended(stream).message.event.end_reason is EndReason.SOURCE_LOST
        stream.wait_for_state(StreamState.CONNECTING, at)
        assert stream.stop() < within(SOON)


def test_a_stalled_camera_goes_on(cam: Camera) -> None:
    """A short silence costs neither the connection nor the event."""
    with running(cam.address) as stream:
        stream.wait_for_event()
        cam.mode = "hang"
        at = stream.wait_for_state(StreamState.STALLED)
        cam.mode = "bright"
        stream.wait_for_state(LIVE, at)
        assert len(stream.all(Opened)) == 1
        assert not stream.phases(EventPhase.ENDED)


def test_a_camera_slower_than_it_announces_is_live(cam: Camera) -> None:
    """Of 25 frames a second it sends three: no pause between them is told, its falling silent is."""
    cam.interval = 0.33
    stream = Running(replace(task_of(cam.address), limits=Limits(stalled=0.1, lost=4.0)), BrightModel())
    try:
        wait_until(lambda: any(measured.fps for measured in stream.all(Measured)))
        wait_until(lambda: stream.states[-1] is LIVE)
        at, count = len(stream.states), len(stream.labels())
        wait_until(lambda: len(stream.labels()) >= count + 4)
        assert stream.states[at:] == []
        cam.mode = "hang"
        stream.wait_for_state(StreamState.STALLED, at)
    finally:
        stream.stop()
    assert stream.all(Opened) == [Opened(96, 64, 25.0, True)]


def test_a_wrong_password_is_a_failure_that_mends_itself(cam: Camera) -> None:
    """Failed, with a slow retry; the password is in no word."""
    cam.mode = "locked"
    address = cam.address.replace("//", "//user:secret@")
    with running(address) as stream:
        at = stream.wait_for_state(StreamState.FAILED)
        standing = stream.all(Standing)[at]
        assert standing.wait is not None
        assert 4 <= standing.wait <= 8
        assert "secret" not in str(stream.told)


def test_a_refused_address_is_not_opened(cam: Camera) -> None:
    """What the service may not reach is asked about before every connection, and never opened."""

    def refuse(source: str) -> Pinned:
        raise SourceError("addresses of this network are not allowed")

    options = StreamOptions(settings=QUICK)
    with pytest.raises(ConfigurationError):
        StreamTask(name="cam", source=cam.address, options=options, trusted=False, folder=None)
    task = StreamTask(
        name="cam", source=cam.address, options=options, trusted=False, folder=None, resolve=refuse
    )
    stream = Running(task, BrightModel())
    at = stream.wait_for_state(StreamState.FAILED)
    assert stream.all(Standing)[at].reason == "addresses of this network are not allowed"
    stream.stop()
    assert cam.sent == 0


def test_a_label_that_is_not_there_yet_is_waited_for(cam: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is learned may follow to a new version of the model only after the stream has started."""
    monkeypatch.setattr(process, "REFUSED", Backoff(first=0.3, limit=0.3))
    model = BrightModel(labels=("other", "background"))
    stream = Running(task_of(cam.address, labels=("bright",)), model)
    at = stream.wait_for_state(StreamState.FAILED)
    assert "bright" in str(stream.all(Standing)[at].reason)
    object.__setattr__(model, "labels", BrightClassifier.labels)
    assert stream.wait_for_event().message.event.label == "bright"
    stream.stop()


def checked_task(resolve: Callable[[str], Pinned]) -> StreamTask:
    return StreamTask(
        name="cam",
        source="http://camera.example/live",
        options=StreamOptions(settings=QUICK),
        trusted=False,
        folder=None,
        resolve=resolve,
        limits=LIMITS,
    )


def test_a_checked_address_is_what_is_opened(cam: Camera) -> None:
    """The address that was checked is opened, not the one that was given; the camera hears its own name."""
    stream = Running(checked_task(partial(_pinned_to, cam)), BrightModel())
    stream.wait_for_state(LIVE)
    stream.stop()
    assert cam.hosts[-1] == "camera.example"


def test_a_checked_address_leads_nowhere_else(cam: Camera) -> None:
    """A camera that an outsider has named cannot send the service on to where it may not go."""
    with camera() as other:
        cam.elsewhere = other.address
        stream = Running(checked_task(partial(_pinned_to, cam)), BrightModel())
        stream.wait_for_state(LOST)
        stream.stop()
        assert other.hosts == []


def _pinned_to(cam: Camera, source: str) -> Pinned:
    return Pinned(cam.address, "camera.example", None, "127.0.0.1", 80)


def test_labels_that_the_model_lacks_are_told() -> None:
    """An option that cannot work is a failure with a reason, not a crash on and on."""
    with running("nowhere.mp4", labels=("chess",)) as stream:
        at = stream.wait_for_state(StreamState.FAILED)
        assert "chess" in (stream.all(Standing)[at].reason or "")
        assert stream.stop() < within(SOON)


def test_a_slow_network_does_not_slow_the_picture(cam: Camera) -> None:
    """Few classifications, yet every frame is shown; those left out are counted."""
    with running(cam.address, BrightModel(seconds=0.4), view_rate=100.0) as stream:
        stream.watch()
        wait_until(lambda: len(stream.labels()) >= 4)
        assert len(stream.all(Picture)) > 2 * len(stream.labels())
        assert stream.labels()[-1].dropped > 1


def test_frames_do_not_age_while_the_network_is_slow(cam: Camera) -> None:
    """The age of a label is what the network takes, from the first to the last: frames never queue for it."""
    with running(cam.address, BrightModel(seconds=0.4), settings=replace(QUICK, gate=False)) as stream:
        wait_until(lambda: len(stream.labels()) >= 12, 60)
        labels = stream.labels()
    assert labels[-1].index - labels[0].index >= 4 * len(labels)  # a queue would be 3 s long by now
    assert min(label.age for label in labels) >= 0.4
    assert max(label.age for label in labels) < within(1.5)


def test_a_quick_network_sees_every_frame(cam: Camera) -> None:
    """Where there is time for every frame, the live mode leaves none out."""
    with running(cam.address) as stream:
        wait_until(lambda: len(stream.labels()) >= 40)
    left_out = sorted(label.dropped for label in stream.labels())
    assert left_out[len(left_out) // 2] == 0


def test_what_does_not_change_is_not_classified_anew(cam: Camera) -> None:
    """A camera that looks at a still scene goes on telling labels, and next to none of them are computed."""
    cam.mode = "still"
    with running(cam.address, settings=RunSettings(window=40)) as stream:
        wait_until(lambda: len(stream.labels()) > 45)
        stream.stop()
    counts = stream.all(Measured)[-1]
    assert counts.classified + counts.reused >= len(stream.labels()) - 1
    assert counts.reused > 4 * counts.classified > 0
    assert {told.label for told in stream.labels()} == {"bright"}
    with running(cam.address, settings=RunSettings(window=40, gate=False)) as stream:
        wait_until(lambda: len(stream.labels()) > 10)
        stream.stop()
    assert stream.all(Measured)[-1].reused == 0


def test_a_rate_bounds_classifications(cam: Camera) -> None:
    """Five frames per second of media time are asked for at most, whatever the network could do."""
    with running(cam.address, rate=5.0) as stream:
        wait_until(lambda: len(stream.labels()) >= 6)
        labels = stream.labels()
    assert labels[5].pts - labels[0].pts >= 0.95


def test_without_inference_the_stream_stays_up(cam: Camera, tmp_path: Path) -> None:
    """Pictures go on, the state says what is missing, time counts as dropped; then it goes on by itself."""
    away = tmp_path / "away"
    away.touch()
    with running(cam.address, BrightModel(away=away)) as stream:
        stream.watch()
        wait_until(lambda: any(s.reason == "waiting for inference" for s in stream.all(Standing)))
        wait_until(lambda: stream.all(Picture))
        wait_until(lambda: any(m.seconds_dropped > 0.5 and m.dropped for m in stream.all(Measured)))
        away.unlink()
        stream.wait_for_event()
        assert stream.all(Standing)[-1] == Standing(LIVE, None)
        away.touch()
        assert ended(stream).message.event.end_reason is EndReason.BLIND


def test_a_file_waits_for_inference(film: Path, tmp_path: Path) -> None:
    """Nothing of a file is lost when inference comes late; stopping is possible meanwhile."""
    away = tmp_path / "away"
    away.touch()
    with running(str(film), BrightModel(away=away)) as stream:
        wait_until(lambda: any(s.reason == "waiting for inference" for s in stream.all(Standing)))
        away.unlink()
        wait_until(lambda: len(stream.labels()) > 5)
        assert stream.labels()[0].index == 0
        away.touch()
        wait_until(lambda: stream.all(Standing)[-1] == Standing(LIVE, "waiting for inference"))
        assert stream.stop() < within(SOON)


def test_an_event_is_recorded(cam: Camera, tmp_path: Path) -> None:
    """An event leaves a video that begins before it and goes on after it, also when the camera changes
    the size of its pictures meanwhile."""
    folder = tmp_path / "recordings"
    cam.mode = "dim"
    with running(
        cam.address, folder=folder, record=Record.EVENTS, record_before=0.5, record_after=0.3
    ) as stream:
        wait_until(lambda: len(stream.labels()) > 15)
        cam.mode = "bright"
        stream.wait_for_event()
        cam.size = (160, 120)
        count = len(stream.labels())
        wait_until(lambda: len(stream.labels()) > count + 10)
        cam.mode = "dim"
        event = ended(stream).message.event
        wait_until(lambda: stream.all(Recorded))
    [recorded] = stream.all(Recorded)
    assert recorded.event == event.id
    assert [path.name for path in folder.iterdir()] == [recorded.file]
    images, fps = read_video(folder / recorded.file)
    assert images[0].shape[:2] == (64, 96)
    assert event.end_pts is not None
    assert len(images) / fps == pytest.approx(event.end_pts - event.start_pts + 0.8, abs=0.6)
    assert images[0][-20:, :40].mean() < 100 < images[len(images) // 2][-20:, :40].mean()


def test_stopping_finishes_the_recording(cam: Camera, tmp_path: Path) -> None:
    """A recording that goes on when the process is to stop is whole, and told of."""
    with running(cam.address, folder=tmp_path, record=Record.EVENTS) as stream:
        event = stream.wait_for_event().message.event
        assert stream.stop() < within(SOON)
    assert [told.event for told in stream.all(Recorded)] == [event.id]
    assert read_video(tmp_path / stream.all(Recorded)[0].file)[0]


def test_all_of_a_stream_is_recorded_also_when_its_process_is_killed(cam: Camera, tmp_path: Path) -> None:
    """The next process finds what the killed one had written, and goes on in a new file."""
    folder = tmp_path / "as after SIGKILL"
    folder.mkdir()
    with running(cam.address, folder=tmp_path / "first", record=Record.ALWAYS) as stream:
        wait_until(lambda: any(count_frames(path) > 5 for path in tmp_path.glob("first/*.part")))
        [part] = tmp_path.glob("first/*.part")
        shutil.copy(part, folder)
    with running(cam.address, folder=folder, record=Record.ALWAYS) as stream:
        stream.wait_for_event()
        assert stream.stop() < within(SOON)
    assert [told.file for told in stream.all(Recorded)] == sorted(path.name for path in folder.iterdir())
    left, new = sorted(folder.iterdir())
    assert left.name == part.stem
    assert len(read_video(left)[0]) > 5
    assert read_video(new)[0]


def test_a_service_that_does_not_read_holds_up_nothing(cam: Camera) -> None:
    """The pipe is full: signs of life go on, and stopping is possible."""
    stream = Running(task_of(cam.address, view_rate=100.0), BrightModel(), reading=False)
    stream.watch()
    count = cam.sent
    wait_until(lambda: cam.sent > count + 60)
    stream.beats()
    wait_until(lambda: len(stream.beats()) >= 1)
    assert stream.stop() < within(SOON)


def test_what_waits_for_a_slow_service_is_bounded() -> None:
    """Of pictures only the newest waits, of labels the last 256, seconds are added up, the rest is kept."""
    ours, theirs = Pipe()
    with ours, theirs:
        sender = Sender(theirs)
        sender.tell(Picture(bytes(4 << 20)))  # more than the pipe takes
        assert ours.poll(30.0)
        for i in range(300):
            sender.tell(Standing(LIVE, f"reason {i}"))
            sender.tell(replace(LABEL, index=i))
            sender.tell(Picture(bytes([i % 256])))
            sender.tell(Measured(1.0, 1.0, None, i, 0, i, 0, 0.5, 0.25, 0.0))
        told: list[Told] = []
        while not told or told[-1] != Standing(StreamState.ENDED):
            if len(told) == 1:
                sender.tell(Standing(StreamState.ENDED))
            told.append(decode(ours.recv_bytes(MAX_BYTES)))
        sender.close(5.0)
        assert not ours.poll(0)
    assert [one.reason for one in told if isinstance(one, Standing)][:300] == [
        f"reason {i}" for i in range(300)
    ]
    labels = [one.index for one in told if isinstance(one, Labelled)]
    assert labels[-256:] == list(range(44, 300))
    assert len(labels) < 300
    assert len([one for one in told if isinstance(one, Picture)]) <= 3
    measured = [one for one in told if isinstance(one, Measured)]
    assert len(measured) <= 2
    assert sum(one.seconds_watched for one in measured) == 150.0
    assert measured[-1].frames == 299


LABEL = Labelled(0, 0.0, 0.0, 0.0, "x", 1.0, (), 0, None)


def test_it_ends_when_the_service_is_gone(cam: Camera) -> None:
    """Nobody listens any more: the process fails, to be started anew with another line."""
    stream = Running(task_of(cam.address), BrightModel(), reading=False)
    wait_until(lambda: cam.sent > 5)
    stream.ours.close()
    stream.thread.join(20)
    assert not stream.thread.is_alive()
    assert stream.failure is not None
    stream.stop()


class Spawned:
    """A stream in a process of its own, under a real supervisor."""

    def __init__(self, source: str) -> None:
        self.told: list[object] = []
        self.statuses: list[ChildStatus] = []
        self.supervisor = Supervisor()
        self.supervisor.start(
            ChildSpec(
                "cam",
                run_stream,
                (task_of(source), BrightModel()),
                open_channel=self.open_channel,
                on_change=self.statuses.append,
                beat_timeout=3.0,
            )
        )

    def open_channel(self) -> Connection:
        ours, theirs = Pipe()
        threading.Thread(target=self._listen, args=(ours,), daemon=True).start()
        return theirs

    def _listen(self, pipe: Connection) -> None:
        with pipe, contextlib.suppress(EOFError, OSError):
            while True:
                self.told.append(decode(pipe.recv_bytes(MAX_BYTES)))

    def has_told(self, kind: type, **fields: object) -> bool:
        return any(
            isinstance(told, kind) and all(getattr(told, name) == value for name, value in fields.items())
            for told in list(self.told)
        )


def test_a_process_under_a_supervisor(cam: Camera) -> None:
    """Spawned, ready, alive through a hung camera, stopped by SIGTERM with its event ended."""
    spawned = Spawned(cam.address)
    try:
        wait_until(lambda: spawned.has_told(Labelled, label="bright"))
        wait_until(lambda: spawned.has_told(Announced))
        cam.mode = "hang"
        wait_until(lambda: spawned.has_told(Standing, state=LOST))
        cam.mode = "bright"
        count = len(spawned.told)
        wait_until(lambda: any(isinstance(told, Labelled) for told in spawned.told[count:]))
        spawned.supervisor.stop("cam", timeout=5.0)
        assert not any(status.failures for status in spawned.statuses)
    finally:
        spawned.supervisor.close(timeout=1.0)


def test_a_server_that_never_answers_is_waited_for() -> None:
    """Opening blocks for seconds: signs of life go on, and stopping does not wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        spawned = Spawned(f"http://127.0.0.1:{deaf.getsockname()[1]}/live")
        try:
            wait_until(lambda: spawned.has_told(Standing, state=StreamState.CONNECTING))
            wait_until(lambda: spawned.has_told(Measured))
            began = time.monotonic()
            spawned.supervisor.stop("cam", timeout=10.0)
            assert time.monotonic() - began < within(SOON)
            assert not any(status.failures for status in spawned.statuses)
        finally:
            spawned.supervisor.close(timeout=1.0)


def test_a_stream_s_process_is_light() -> None:
    """What only the service needs is not loaded again for every camera: it would cost each some 100 MB."""
    code = "import sys, service.streams.process, service.inference.shared; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "cv2" in loaded
    assert not loaded & {"tensorflow", "keras", "openvino", "pydantic", "fastapi", "uvicorn", "rich", "typer"}
