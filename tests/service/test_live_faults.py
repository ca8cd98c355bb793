"""What goes wrong with one stream shows as what it is, is over when its cause is, and stays with that stream.

All tests share one service and two healthy streams beside, whose labels must never pause for long.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.sinks.avi import count_frames
from tests.rtsp import RtspServer, film, needs_rtsp
from tests.service.api.conftest import Served, serving, until
from tests.service.live import (
    TIMED,
    ColourModel,
    Follower,
    Viewer,
    added,
    check_lives,
    ended_events,
    events_of,
    process_connected_to,
    stream,
    wait_for_state,
    within,
    workers,
)

pytestmark = [needs_rtsp, TIMED]

SHOWN = 5.0
"""Seconds after which a fault shows at the latest, on a machine with nothing else to do."""
BACK = 10.0
"""Seconds after which the stream is live again when the cause of the fault is over."""
PAUSE = 0.5
"""Seconds for which the labels of a healthy stream may pause."""

HEALTHY = ("well", "fine")

numbers = count(1)


@dataclass(frozen=True)
class Patient:
    """A stream with which something goes wrong."""

    served: Served
    name: str

    @property
    def shown(self) -> dict[str, Any]:
        return stream(self.served, self.name)

    @property
    def last_event(self) -> dict[str, Any]:
        """The last that has ended; empty if none has."""
        return (ended_events(self.served, self.name) or [{}])[-1]

    def shows(self, *states: str) -> dict[str, Any]:
        return wait_for_state(self.served, self.name, *states, seconds=within(SHOWN))

    def ends_event(self, reason: str) -> None:
        until(lambda: self.last_event.get("end_reason") == reason, within(SHOWN))

    def begins_event(self, which: int = 1) -> None:
        until(lambda: self._phases().count("started") >= which, 60)

    def _phases(self) -> list[str]:
        return [message["phase"] for message in events_of(self.served, self.name)]

    def recovers(self) -> dict[str, Any]:
        """Wait until it is live, and has labels again."""
        wait_for_state(self.served, self.name, "live", seconds=within(BACK))
        return until(lambda: (shown := self.shown)["label"] and shown)  # type: ignore[no-any-return]

    def unfinished(self) -> list[Path]:
        """Recordings that go on."""
        return list((self.served.data / "recordings" / self.name).glob("*.part"))

    def recordings(self) -> list[str]:
        """Those that can be fetched."""
        found = self.served.client.get(f"/streams/{self.name}/recordings").json()["recordings"]
        return [recording["file"] for recording in found]

    def labels(self) -> Follower:
        return Follower(self.served, f"/streams/{self.name}/labels?mode=lossless")

    def viewer(self, buffer: int | None = None) -> Viewer:
        return Viewer(self.served, f"/streams/{self.name}/live.mjpeg", buffer)


@dataclass(frozen=True)
class Ward:
    served: Served
    healthy: tuple[Follower, ...]
    slow: Follower
    inference: Path

    @contextmanager
    def patient(self, source: str, *, pause: float = PAUSE, **options: Any) -> Iterator[Patient]:
        """A new stream; afterwards, that the healthy have not noticed, and that no event was harmed."""
        patient = Patient(self.served, f"ill-{next(numbers)}")
        with added(self.served, patient.name, source, **options):
            began = time.monotonic()
            yield patient
            for name, labels in zip(HEALTHY, self.healthy, strict=True):
                assert labels.longest_pause(began) < within(pause), name
                now = stream(self.served, name)
                assert (now["state"], now["restarts"]) == ("live", 0)
        check_lives(events_of(self.served, patient.name))

    @contextmanager
    def recognised(self, camera: RtspServer, **options: Any) -> Iterator[Patient]:
        """One that is live already, with an event that goes on."""
        with self.patient(camera.url, **options) as patient:
            patient.begins_event()
            yield patient


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("live")
    model = ColourModel(note=folder / "inference")
    path = "/streams/{}/labels?mode=lossless"
    with (
        RtspServer([*film("blue", 2), *film("background", 2)]) as camera,
        serving(
            folder / "data",
            model,
            streams=dict.fromkeys(HEALTHY, camera.url),
            allowed_sources=["127.0.0.0/8"],
        ) as served,
        Follower(served, path.format("well"), reading=False) as slow,
        ExitStack() as stack,
    ):
        healthy = tuple(stack.enter_context(Follower(served, path.format(name))) for name in HEALTHY)
        for labels in healthy:
            labels.wait(lambda message: message["type"] == "label", 60)
        yield Ward(served, healthy, slow, folder / "inference")
    until(lambda: not workers(), 10)  # nothing is left of all that was killed and hung
    assert "memfd" not in Path("/proc/self/maps").read_text()


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with RtspServer(film("red")) as one:
        yield one


def test_camera_killed_and_started_again(ward: Ward, camera: RtspServer) -> None:
    """Lost with a reason and the next try; the open event ends as lost; a new one begins when it is back."""
    with ward.recognised(camera) as ill:
        camera.kill()
        lost = ill.shows("lost")
        assert lost["reason"]
        assert lost["label"] is None
        ill.ends_event("source_lost")
        until(lambda: ill.shown["attempt"] > 1)
        camera.start()
        ill.recovers()
        ill.begins_event(2)


def test_camera_hangs(ward: Ward, camera: RtspServer) -> None:
    """A camera that keeps its connection open and sends nothing is noticed by its silence."""
    with ward.recognised(camera) as ill:
        camera.pause()
        ill.shows("stalled", "lost")
        ill.ends_event("source_lost")
        camera.resume()
        ill.recovers()
        camera.pause()
        ill.shows("stalled", "lost")  # and so it is removed


def test_camera_comes_back_with_another_size(ward: Ward, camera: RtspServer) -> None:
    """Whoever looks gets pictures of the new size over the same connection."""
    with ward.recognised(camera) as ill, ill.viewer() as viewer:
        assert viewer.read().shape == (180, 320, 3)
        camera.restart(film("blue", size=(480, 272)), (480, 272))
        until(lambda: viewer.read().shape == (272, 480, 3))
        found = ill.recovers()
        assert (found["width"], found["height"]) == (480, 272)
        ill.begins_event(2)


def test_wrong_password(ward: Ward) -> None:
    """A camera that refuses has failed, and the reason says so; passwords are told to nobody."""
    with (
        RtspServer(film("red"), user="me", password="the+right=one") as camera,
        ward.patient(camera.url_as("me", "another-one")) as ill,
    ):
        refused = wait_for_state(ward.served, ill.name, "failed", "lost")
        assert "password" in refused["reason"]
        assert refused["next_try_at"]
        assert "another-one" not in ward.served.client.get("/streams").text
        answer = ward.served.client.patch(f"/streams/{ill.name}", json={"source": camera.url})
        assert answer.status_code == 200, answer.text
        assert "right" not in answer.text
        ill.recovers()


def test_black_picture(ward: Ward, camera: RtspServer) -> None:
    """A covered lens is blind, not a label; the open event ends so, and what comes next starts afresh."""
    with ward.recognised(camera) as ill, ill.labels() as labels:
        camera.show(film("black"))
        assert ill.shows("blind")["label"] is None
        ill.ends_event("blind")
        camera.show(film("green"))
        ill.recovers()
        ill.begins_event(2)
        states = [index for index, (_, m) in enumerate(labels.heard) if m.get("state") == "blind"]
        after = [message for _, message in labels.heard[states[-1] :] if message["type"] == "label"]
        assert {message["label"] for message in after} <= {"green", "background"}


def test_frozen_picture(ward: Ward, camera: RtspServer) -> None:
    """A camera that sends the same picture again and again is frozen, though key frames differ a little."""
    with ward.recognised(camera) as ill:
        camera.freeze()
        assert ill.shows("frozen")["label"] is None
        ill.ends_event("blind")
        camera.show(film("green"))
        ill.recovers()
        ill.begins_event(2)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_process_of_a_stream_dies_or_hangs(ward: Ward, camera: RtspServer, fault: signal.Signals) -> None:
    """It is started again, and no event is lost or doubled by that."""
    port = urlsplit(camera.url).port or 0
    with ward.recognised(camera, record="always") as ill, ill.labels() as labels:
        until(lambda: any(count_frames(path) > 5 for path in ill.unfinished()))
        [part] = ill.unfinished()
        pid = process_connected_to(port)
        os.kill(pid, fault)
        labels.wait(lambda message: message.get("state") == "lost", within(SHOWN))
        ill.ends_event("source_lost")
        assert ill.recovers()["restarts"] == 1
        assert process_connected_to(port) != pid
        assert part.stem in ill.recordings(), "what was recorded before is there to be fetched"
        ill.begins_event(2)


def test_inference_killed(ward: Ward, camera: RtspServer) -> None:
    """All wait for the next one and go on; no process of a stream ends of it."""
    with ward.recognised(camera, pause=BACK) as ill:
        known = ward.inference.read_text()
        os.kill(int(known), signal.SIGKILL)
        until(lambda: ward.inference.read_text() not in ("", known))
        until(lambda: all(one.longest_pause(time.monotonic() - 1) < 1 for one in ward.healthy))
        assert ill.recovers()["restarts"] == 0


def test_slow_viewer(ward: Ward, camera: RtspServer) -> None:
    """One who does not read gets a new picture when he does, and costs nobody else a picture."""
    with (
        ward.recognised(camera) as ill,
        ill.viewer() as quick,
        ill.viewer(buffer=4096) as slow,
    ):
        slow.read()
        camera.show(film("green"))
        began = time.monotonic()
        pictures = 0
        while time.monotonic() - began < 6:
            quick.read()
            pictures += 1
        assert pictures > 60 / within(1)
        late = 0
        while slow.read().mean(axis=(0, 1)).argmax() != 1:
            late += 1
        assert late < pictures  # what it has not taken was not kept for it


def test_slow_reader_of_labels(ward: Ward) -> None:
    """One who has not read since the first test is told what he has missed, or was let go as dead."""
    slow, newest = ward.slow, ward.healthy[0].messages("label")[-1]["seq"]
    slow.go_on()
    until(lambda: slow.closed or any(m["seq"] >= newest for m in slow.messages("label")), 60)
    heard = [message["seq"] for message in slow.messages("label")]
    holes = heard[-1] - heard[0] + 1 - len(heard)
    assert holes <= sum(message["count"] for message in slow.messages("missed"))
    assert not any(one.closed for one in ward.healthy)
