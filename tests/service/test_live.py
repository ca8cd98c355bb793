"""Live streams end to end: a real camera, real processes and sockets, clients that are not our code."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.errors import SourceAuthenticationError
from service.sources import open_source
from tests.rtsp import RtspServer, film, needs_rtsp
from tests.service.api.conftest import Serve, Served, children_of, serving, until
from tests.service.children import named_memory
from tests.service.live import (
    OPTIONS,
    TIMED,
    ColourModel,
    Follower,
    Viewer,
    add,
    added,
    check_lives,
    decoded,
    ended_events,
    events_of,
    remove,
    stream,
    wait_for_state,
    within,
)

SETTINGS = {"allowed_sources": ["127.0.0.0/8"]}
DAY = [*film("background", 2), *film("red", 3), *film("background", 2), *film("blue", 3)]
"""What the camera sees, again and again."""


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts services on one folder, which take sources on this machine from their clients."""
    return lambda: serving(tmp_path / "data", ColourModel(), **SETTINGS)


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with RtspServer(DAY) as one:
        yield one


@needs_rtsp
def test_camera_with_a_password() -> None:
    """The server is a real one: it has pictures for who knows the password, and for nobody else."""
    with RtspServer(film("green"), user="guest", password="a /?@:# b") as camera:
        for wrong in (camera.url_as("guest", "b"), camera.url_as(None, "")):
            with pytest.raises(SourceAuthenticationError, match="401"):
                open_source(wrong, open_timeout=20)
        with open_source(camera.url, open_timeout=20, read_timeout=20) as source:
            frame = source.read()
            assert frame is not None
            assert frame.image.shape == (180, 320, 3)
            assert ColourModel().labels[1] == "green"
            assert np.argmax(frame.image.mean(axis=(0, 1))) == 1


@needs_rtsp
@TIMED
def test_labels_events_and_pictures_arrive(serve: Serve, camera: RtspServer) -> None:
    """What a camera sees arrives as labels, as events and as pictures, and all three agree."""
    with (
        serve() as served,
        Follower(served, "/events") as events,
        added(served, "door", camera.url) as first,
        Follower(served, "/streams/door/labels?mode=lossless") as labels,
        Follower(served, "/streams/door/labels?mode=latest&rate=3") as few,
    ):
        assert first["state"] in ("connecting", "live")
        for wanted in ("red", "blue"):
            ended = events.wait(partial(_is_end, wanted), 90)["event"]
            assert ended["stream"] == "door"
            assert ended["end_reason"] in ("exit", "label_change")
            assert ended["started_at"] < ended["ended_at"]
        assert abs(ended["end_pts"] - ended["start_pts"] - 3) < 1  # the first may have begun without us
        check_lives(events.messages("event"))

        shown = labels.messages("label")
        sequence = [message["seq"] for message in shown]
        assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
        assert labels.heard[0][1]["type"] == "snapshot"
        assert labels.states()[-1] == "live"
        assert {"red", "blue", "background"} <= {message["label"] for message in shown}
        assert {message["event"] for message in shown if message["label"] == "red"} >= {
            message["event"]["id"] for message in events.messages("event") if _is_end("red", message)
        }
        assert np.median([message["dropped"] for message in shown]) == 0  # the network is free for each frame
        assert np.median([message["frame_age"] for message in shown]) < within(0.25)
        assert shown[0]["captured_at"] <= shown[0]["emitted_at"]
        assert 0.1 < len(few.messages("label")) / len(shown) < 0.5  # 3 of 12 a second

        with Viewer(served, "/streams/door/live.mjpeg") as viewer:
            pictures = [viewer.read() for _ in range(5)]
        assert {picture.shape for picture in pictures} == {(180, 320, 3)}
        assert any((a != b).any() for a, b in pairwise(pictures))
        picture = decoded(served.client.get("/streams/door/snapshot.jpg").content)
        assert picture.shape == (180, 320, 3)

        now = stream(served, "door")
        assert (now["is_live"], now["width"], now["height"], now["restarts"]) == (True, 320, 180, 0)
        assert 8 < now["fps"] < 16
        until(lambda: _watched(served, "door") > 5, 60)


def _watched(served: Served, name: str) -> float:
    hours = served.client.get(f"/streams/{name}/coverage").json()["hours"]
    return float(sum(hour["watched"] for hour in hours))


def _is_end(label: str, message: dict[str, object]) -> bool:
    event = message.get("event")
    return message.get("phase") == "ended" and isinstance(event, dict) and event["label"] == label


def test_live_is_upload(tmp_path: Path) -> None:
    """The same frames through a stream and through an upload give the same events, to the frame."""
    clip = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (320, 180))
    for name, seconds in (("background", 1), ("red", 3), ("blue", 2), ("background", 2), ("blue", 1.6)):
        for image in film(name, seconds, fps=25):
            writer.write(image)
    writer.release()
    with serving(tmp_path / "data", ColourModel(), streams={"film": str(clip)}) as served:
        uploaded = served.upload(clip, window="32").json()["id"]
        wait_for_state(served, "film", "ended", seconds=90)
        served.wait_for(uploaded, "done")
        ours, theirs = ended_events(served, "film"), ended_events(served, uploaded)
    assert [event["label"] for event in ours] == ["red", "blue", "blue"]
    own = ("id", "stream", "started_at", "ended_at")
    for event in (*ours, *theirs):
        for name in own:
            event.pop(name)
    assert ours == theirs


@needs_rtsp
def test_definitions_survive_a_restart(serve: Serve) -> None:
    """Streams that a client added come back with their options, and without their passwords being told."""
    options = OPTIONS | {"labels": ["red"], "rate": 8.0, "crop": [0.0, 0.0, 1.0, 0.9]}
    with RtspServer([*film("red", 1.5), *film("blue", 1.5)]) as camera:
        with serve() as served:
            add(served, "door", camera.url_as("me", "my-secret"), **options)  # it does not ask for that
            add(served, "gone", camera.url)
            assert remove(served, "gone").status_code == 204
            until(lambda: ended_events(served, "door"), 60)
            before = stream(served, "door")
        with serve() as served:
            known = events_of(served, "door")
            after = wait_for_state(served, "door", "live")
            listed = served.client.get("/streams")
            until(lambda: sum(m["phase"] == "started" for m in events_of(served, "door")[len(known) :]), 60)
            both = events_of(served, "door")
    assert [one["name"] for one in listed.json()["streams"]] == ["door"]
    assert "my-secret" not in listed.text
    assert after["options"] == before["options"]
    assert after["options"] | options == after["options"]
    assert {message["event"]["label"] for message in both} == {"red"}
    assert both[: len(known)] == known
    check_lives(both)
    phases = [message["phase"] for message in known]
    assert phases.count("started") == phases.count("ended")  # the end of the service ended its events


@needs_rtsp
def test_change_of_a_stream(serve: Serve, camera: RtspServer) -> None:
    """Other options begin at once; another source is judged like a new one."""
    with serve() as served, added(served, "door", camera.url):
        wait_for_state(served, "door", "live")
        changed = served.client.patch("/streams/door", json={"options": OPTIONS | {"labels": ["blue"]}})
        assert changed.status_code == 200, changed.text
        assert changed.json()["options"]["labels"] == ["blue"]
        with Follower(served, "/streams/door/labels") as labels:
            blue = labels.wait(lambda message: message.get("label") == "blue", 60)
        assert {share["label"] for share in blue["top"]} == {"blue", "background"}
        for source in ("/etc/passwd", "0", "file:///etc/passwd", "rtsp://192.0.2.1/x"):
            refused = served.client.patch("/streams/door", json={"source": source})
            assert 400 <= refused.status_code < 500, (source, refused.text)
            assert served.client.post("/streams", json={"name": "x", "source": source}).is_client_error
        assert stream(served, "door")["options"]["labels"] == ["blue"]
        assert served.client.post("/streams", json={"name": "door", "source": camera.url}).status_code == 409
        for name in ("clip_1", "", "a b", "../x", "x" * 65):
            assert served.client.post("/streams", json={"name": name, "source": camera.url}).is_client_error


@TIMED
def test_removed_while_connecting(serve: Serve) -> None:
    """A camera that takes the connection and then says nothing can be removed within two seconds."""
    with socket.create_server(("127.0.0.1", 0)) as mute, serve() as served:
        add(served, "mute", f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x")
        until(lambda: children_of(os.getpid()))
        mute.settimeout(30)
        with mute.accept()[0]:  # from here on it waits for an answer
            assert stream(served, "mute")["state"] == "connecting"
            with Follower(served, "/streams/mute/labels") as labels:
                began = time.monotonic()
                assert remove(served, "mute").status_code == 204
                assert time.monotonic() - began < within(2)
                until(lambda: labels.closed)
                assert labels.heard[-1][1]["type"] == "removed"
        assert served.client.get("/streams/mute").status_code == 404
        assert remove(served, "mute").status_code == 404
        address = served.url.replace("http", "ws") + "/streams/mute/labels"
        with pytest.raises(InvalidStatus) as refused, connect(address):
            pass
        assert refused.value.response.status_code == 404


@needs_rtsp
def test_nothing_is_left_behind(tmp_path: Path, camera: RtspServer) -> None:
    """After the service has closed: no process, no shared memory and no descriptor more than before."""

    named: set[Path] = set()

    def live_once(folder: Path) -> set[int]:
        with serving(folder, ColourModel(), **SETTINGS) as served:
            for name in ("a", "b"):
                add(served, name, camera.url)
            wait_for_state(served, "a", "live")
            wait_for_state(served, "b", "live")
            with (
                Follower(served, "/streams/a/labels") as labels,
                Viewer(served, "/streams/a/live.mjpeg") as viewer,
            ):
                labels.wait(lambda message: message["type"] == "label")
                viewer.read()
                named.update(named_memory([os.getpid(), *children_of(os.getpid())]))
            assert remove(served, "a").status_code == 204
            return children_of(os.getpid())

    live_once(tmp_path / "first")  # what is made once and stays: the tracker of multiprocessing, pools
    descriptors, children = _descriptors(), children_of(os.getpid())
    worked = live_once(tmp_path / "second")
    assert len(worked - children) >= 2  # inference, and the stream that was still there
    until(lambda: children_of(os.getpid()) <= children, 10)
    until(lambda: _descriptors() <= descriptors, 10)
    assert "memfd" not in Path("/proc/self/maps").read_text()
    assert not [path for path in named if path.exists()]


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
