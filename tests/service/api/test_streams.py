"""Streams over HTTP: what is refused and how, what is remembered; ``test_live`` is about what they see."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.errors import StoppingError, StreamNotFoundError
from tests.service.api.conftest import Serve, Served, make_clip, until
from tests.service.api.fakes import ColourProvider

CLOSED = "rtsp://user:secret@127.0.0.1:9/main"
LOOPBACK = {"allowed_sources": ("127.0.0.0/8",)}


def add(served: Served, name: str = "door", source: str = CLOSED, **options: Any) -> Any:
    return served.client.post("/streams", json={"name": name, "source": source, "options": options})


def test_life_of_a_stream_that_cannot_be_reached(serve: Serve) -> None:
    """Added, tried again, changed, found again after a restart, removed; its password is never shown."""
    with serve(**LOOPBACK) as served:
        answer = add(served, labels=["red"], rate=2)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == "/streams/door"
        found = until(lambda: (s := served.client.get("/streams/door").json())["state"] == "lost" and s)
        assert found["reason"]
        assert found["next_try_at"]
        assert "secret" not in json.dumps(found)
        changed = served.client.patch("/streams/door", json={"options": {"rate": 3}})
        assert (changed.status_code, changed.json()["options"]["rate"]) == (200, 3)
        assert changed.json()["options"]["labels"] == ["red"], "what is left out stays"
        assert changed.json()["options"]["gate"] is None
        before = served.services.streams.get("door")
        assert served.client.patch("/streams/door", json={"options": {"rate": 3}}).status_code == 200
        assert served.services.streams.get("door") is before, "a change that changes nothing cuts nothing"
        gated = served.client.patch("/streams/door", json={"options": {"rate": 3, "gate": False}}).json()
        assert gated["options"]["gate"] is False
        assert (gated["classified"], gated["reused"]) == (0, 0)
    with serve(**LOOPBACK) as served:
        (found,) = served.client.get("/streams").json()["streams"]
        assert (found["name"], found["options"]["rate"]) == ("door", 3)
        with connect(served.url.replace("http", "ws") + "/streams/door/labels") as socket:
            assert json.loads(socket.recv())["type"] == "snapshot"
            assert served.client.delete("/streams/door").status_code == 204
            kinds = [json.loads(text)["type"] for text in socket]
        assert kinds[-1] == "removed"
        assert served.client.get("/streams/door").status_code == 404
        assert served.client.get("/streams/door/coverage").json()["hours"]


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (422, {"name": "a b"}),
        (422, {"name": "clip_1"}),
        (422, {"name": ""}),
        (422, {"source": ""}),
        (422, {"labels": ["purple"]}),
        (422, {"enter": 0.2, "exit": 0.4}),
        (422, {"crop": [0.5, 0, 0.6, 1]}),
        (422, {"surprise": 1}),
        (403, {"source": "/etc/passwd"}),
        (403, {"source": "0"}),
        (403, {"source": "file:///etc/passwd"}),
        (403, {"source": "concat:a|b"}),
        (403, {"source": "rtsp://192.0.2.7/1"}),
        (403, {"source": "http://169.254.169.254/latest"}),
        (403, {"source": "rtsp://127.0.0.1:9/a;b|c"}),
    ],
)
def test_what_cannot_be_added(serve: Serve, status: int, fields: dict[str, Any]) -> None:
    with serve(**LOOPBACK) as served:
        answer = add(served, **fields)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert "secret" not in answer.text
        assert served.client.get("/streams").json() == {"streams": []}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", None])
def test_json_under_another_type_is_told_what_is_missing(served: Served, kind: str | None) -> None:
    """As curl -d sends it."""
    post = served.client.post
    headers = {} if kind is None else {"Content-Type": kind}
    answer = post("/streams", content=b'{"name": "door", "source": "rtsp://camera/main"}', headers=headers)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["detail"]
    assert post("/streams").status_code == 422
    assert post("/streams", json=[1]).status_code == 422


def test_without_a_list_no_address_is_allowed(served: Served) -> None:
    answer = add(served)
    assert answer.status_code == 403
    assert "allow" in answer.json()["detail"]


def test_names_and_numbers_are_limited(serve: Serve) -> None:
    with serve(max_streams=2, streams={"own": "no-such-file.mp4"}, **LOOPBACK) as served:
        assert add(served).status_code == 201
        assert add(served).status_code == 409
        assert add(served, "own").status_code == 409
        assert add(served, "third").status_code == 409


def test_only_who_may_manage_changes_streams(serve: Serve) -> None:
    tokens = ({"name": "v", "token": "v" * 20}, {"name": "m", "token": "m" * 20, "scopes": ["manage"]})
    with serve(tokens=tokens, streams={"own": "no-such-file.mp4"}) as served:
        view, manage = {"Authorization": "Bearer " + "v" * 20}, {"Authorization": "Bearer " + "m" * 20}
        for method, path in (
            ("POST", "/streams"),
            ("PATCH", "/streams/own"),
            ("DELETE", "/streams/own"),
            ("GET", "/webhooks"),
        ):
            body = None if method in ("GET", "DELETE") else {"name": "x", "source": "rtsp://h/1"}
            assert served.client.request(method, path, json=body).status_code == 401
            assert served.client.request(method, path, json=body, headers=view).status_code == 403
        for path in ("", "/own", "/own/events", "/own/coverage", "/own/live.mjpeg", "/own/recordings"):
            assert served.client.get("/streams" + path).status_code == 401
        assert served.client.get("/streams/own", headers=view).status_code == 200
        with pytest.raises(InvalidStatus):
            connect(served.url.replace("http", "ws") + "/streams/own/labels")
        assert served.client.delete("/streams/own", headers=manage).status_code == 409
        assert served.client.post("/streams", json={}, headers=manage).status_code == 422


def test_what_the_operator_has_defined_only_he_changes(serve: Serve) -> None:
    """A stream of the configuration is not changed or removed over HTTP: it would come back as it was."""
    with serve(streams={"own": "no-such-file.mp4"}, **LOOPBACK) as served:
        assert add(served).json()["defined_by"] == "client"
        call = served.client.request
        for method, body in (
            ("DELETE", None),
            ("PATCH", {"source": CLOSED}),
            ("PATCH", {"options": {"rate": 3}}),
        ):
            answer = call(method, "/streams/own", json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
            assert "change the configuration" in answer.json()["detail"]
        found = served.client.get("/streams/own").json()
        assert (found["defined_by"], found["options"]["rate"]) == ("operator", None)
        manager = served.services.streams
        manager._store.save(manager.get("own").definition)  # as it was done once
    with serve(**LOOPBACK) as served:
        assert [one["name"] for one in served.client.get("/streams").json()["streams"]] == ["door"]
        assert served.client.delete("/streams/door").status_code == 204


def test_an_ended_stream_has_no_picture_to_wait_for(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.streams.SNAPSHOT_SECONDS", 3600.0)
    film = make_clip(tmp_path / "film.avi", ["red"] * 3)
    with serve(streams={"own": str(film)}) as served:
        until(lambda: served.client.get("/streams/own").json()["state"] == "ended")
        answer = served.client.get("/streams/own/snapshot.jpg")
        assert (answer.status_code, answer.json()["detail"]) == (
            503,
            "there is no picture; the stream is ended",
        )


@pytest.mark.parametrize("path", ["..%2f..%2fvideo-events.db", "x.avi", "%2e%2e%2f%2e%2e%2fvideo-events.db"])
def test_recordings_stay_within_their_folder(serve: Serve, path: str) -> None:
    with serve(streams={"own": "no-such-file.mp4"}) as served:
        assert served.client.get(f"/streams/own/recordings/{path}").status_code == 404


def test_recordings_outlive_their_stream(serve: Serve) -> None:
    """Of a removed stream they are listed and fetched as before, until they are deleted, or too old."""
    with serve(**LOOPBACK) as served:
        folder = served.data / "recordings" / "door"
        get, delete = served.client.get, served.client.delete

        def put(name: str = "one.avi") -> None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"RIFF")

        add(served)
        put()
        assert delete("/streams/door", params={"recordings": "some"}).status_code == 422
        assert delete("/streams/door").status_code == 204
        (found,) = get("/streams/door/recordings").json()["recordings"]
        assert (get(found["link"]).content, get("/streams/door").status_code) == (b"RIFF", 404)
        beyond = get(found["link"], headers={"Range": "bytes=4-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */4")
        assert beyond.headers["content-type"] == "application/problem+json"
        for path in ("..", "%2e%2e", "..%2frecordings%2fdoor", ".", "x"):
            for answer in (
                get(f"/streams/{path}/recordings"),
                get(f"/streams/{path}/recordings/one.avi"),
                delete(f"/streams/{path}?recordings=delete"),
            ):
                assert answer.status_code in (404, 405), path
        assert folder.exists()
        assert delete("/streams/door").status_code == 404
        assert delete("/streams/door?recordings=delete").status_code == 204
        assert not folder.exists()
        assert get("/streams/door/recordings").status_code == 404

        add(served)
        put()
        assert delete("/streams/door?recordings=delete").status_code == 204
        assert not folder.exists()
        for name in ("old.avi", "left.avi.part"):
            put(name)
            os.utime(folder / name, (1, 1))
        served.services.streams.tidy()
        assert not folder.exists()


def test_recordings_are_listed_by_pages(serve: Serve) -> None:
    """The newest first, each once, though one goes between two pages; those of one moment are told apart."""
    names = ["e.avi", "d.avi", "c.avi", "b.avi", "a.avi"]
    with serve(streams={"own": "no-such-file.mp4"}) as served:
        folder = served.data / "recordings" / "own"
        folder.mkdir(parents=True)
        for name, finished_at in zip(names, (9.25, 8.5, 8.5, 8.5, 7.0), strict=True):
            (folder / name).write_bytes(b"RIFF")
            os.utime(folder / name, (finished_at, finished_at))

        def page(after: str | None = None) -> tuple[list[str], str | None]:
            query = {"limit": 2} | ({"after": after} if after else {})
            answer = served.client.get("/streams/own/recordings", params=query).json()
            return [one["file"] for one in answer["recordings"]], answer["next"]

        first, after = page()
        assert first == names[:2]
        (folder / names[1]).unlink()
        second, after = page(after)
        assert second == names[2:4]
        assert page(after) == (names[4:], None)
        assert served.client.get("/streams/own/recordings").json()["next"] is None
        for wrong in ({"after": "a.avi"}, {"after": "1e3-a.avi"}, {"limit": 0}, {"limit": 1001}):
            assert served.client.get("/streams/own/recordings", params=wrong).status_code == 422


def test_webhooks_are_listed_without_their_secrets(serve: Serve) -> None:
    """And counted, so that somebody notices when what they are to deliver does not arrive."""
    hook = {"url": "https://desk.example/hook?key=hidden", "secret": "s" * 20}
    with serve(webhooks={"desk": hook}) as served:
        answer = served.client.get("/webhooks")
        assert [found["name"] for found in answer.json()["webhooks"]] == ["desk"]
        assert "hidden" not in answer.text
        assert served.client.get("/webhooks/dead").json() == {"letters": []}
        assert served.client.post("/webhooks/dead/desk-1").status_code == 404
        counts = served.services.webhooks.counts["desk"]
        counts.delivered, counts.failed, counts.dead, counts.forgotten, counts.position = range(1, 6)
        text = served.client.get("/metrics").text
    for figure, value in (
        ("delivered_total", 1),
        ("failed_total", 2),
        ("dead_total", 3),
        ("forgotten_total", 4),
        ("position", 5),
    ):
        assert f'video_events_webhook_{figure}{{webhook="desk"}} {value}.0' in text


SLOW = ColourProvider(seconds=0.05)
"""Takes 20 batches a second, of which 18 are given away; batches of one, so that figures are simple."""


def measured(served: Served) -> float:
    """The capacity, once it is known."""
    return float(until(lambda: served.services.streams.admission.capacity))


def test_a_stream_beyond_the_capacity_is_refused_or_lowered(serve: Serve) -> None:
    """429 with figures, of which the last does fit; or lower, if asked to, which the answer shows."""
    with serve(SLOW, batch_size=1, **LOOPBACK) as served:
        capacity = measured(served)
        assert 10 < capacity < 20.1
        assert add(served, "first", rate=5).status_code == 201
        refused = add(served, "second", rate=25)
        problem = refused.json()
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert (problem["asked"], problem["promised"]) == (25, 5)
        assert problem["fits"] == pytest.approx(0.9 * problem["capacity"] - 5, abs=0.11)
        assert "retry-after" not in refused.headers
        assert served.client.get("/streams/second").status_code == 404
        assert add(served, "second", rate=problem["fits"] - 2).status_code == 201

        more = {"options": {"rate": 12}}
        assert served.client.patch("/streams/first", json=more).status_code == 429
        assert served.client.get("/streams/first").json()["options"]["rate"] == 5
        assert served.client.patch("/streams/first", json={"options": {"rate": 4}}).status_code == 200
        lowered = add(served, "third", rate=25, on_overload="lower")
        assert lowered.status_code == 201, lowered.text
        shown = lowered.json()
        assert shown["asked_rate"] == 25
        assert 1 <= shown["granted_rate"] < 8
        assert shown["options"]["on_overload"] == "lower"
        assert add(served, "fourth", on_overload="perhaps").status_code == 422


def test_own_streams_are_always_admitted_and_lowered_alike(serve: Serve, tmp_path: Path) -> None:
    """The operator's word counts: all his streams run, slower than they should, and it shows everywhere."""
    film = make_clip(tmp_path / "film.avi", ["red", "blue"] * 300)
    entries = {name: {"source": str(film), "rate": rate} for name, rate in (("a", 10), ("b", 5))}
    with serve(ColourProvider(seconds=0.1), batch_size=1, streams=entries, **LOOPBACK) as served:
        capacity = measured(served)
        found = until(
            lambda: (s := served.client.get("/streams/a").json())["granted_rate"] not in (None, 10) and s
        )
        budget = 0.9 * served.services.streams.admission.capacity
        assert found["granted_rate"] == pytest.approx(budget * 10 / 15, rel=0.2)
        assert found["asked_rate"] == 10
        assert add(served, "mine", rate=1).status_code == 429
        with connect(served.url.replace("http", "ws") + "/streams/b/labels") as socket:
            snapshot = json.loads(socket.recv())["stream"]
        assert snapshot["granted_rate"] == pytest.approx(budget * 5 / 15, rel=0.2)
        until(lambda: 0 < (served.client.get("/streams/b").json()["classified_fps"] or 0) < 4)
        text = served.client.get("/metrics").text
        assert "video_events_inference_promised 15.0" in text
        assert 'video_events_stream_granted_rate{stream="a"}' in text
        assert "video_events_inference_batch_seconds_count" in text
        assert 'video_events_stream_label_seconds_count{stream="a"}' in text
        assert 'video_events_stream_dropped_total{stream="a"}' in text
        assert "dropped_total Frames that came too fast to be classified or shown." in text
        for figure in ("refused", "lost_inputs", "retried_inputs"):
            assert f"video_events_inference_{figure}_total 0.0" in text
        assert 'video_events_stream_queue_depth{stream="a"} 0.0' in text
        assert capacity > 0


def test_changes_while_the_service_stops(serve: Serve) -> None:
    """Streams removed, changed added while all are being stopped: done, or told that it is too late."""
    with serve(**LOOPBACK) as served:
        for name in ("a", "b"):
            assert add(served, name).status_code == 201
        manager = served.services.streams
        extra = replace(manager.get("a").definition, name="late")
        calls = [
            manager.close,
            lambda: manager.remove("a"),
            lambda: manager.change("b", None, lambda options: replace(options, view_rate=5.0)),
            lambda: manager.add(extra),
        ]
        with ThreadPoolExecutor(len(calls)) as threads:
            outcomes = [future.exception(30) for future in [threads.submit(call) for call in calls]]
        assert outcomes[0] is None
        for outcome in outcomes[1:]:
            assert outcome is None or isinstance(outcome, StoppingError | StreamNotFoundError), outcome
        assert manager.all() == ()
        assert add(served, "later").status_code == 503
        assert not children_of_streams(served)


def children_of_streams(served: Served) -> list[str]:
    """Streams whose process is still known to the supervisor."""
    supervisor = served.services.streams._supervisor
    return [name for name in ("a", "b", "late") if supervisor.status(f"stream {name}")]


def test_live_pictures_come_no_faster_than_asked_for(serve: Serve, tmp_path: Path) -> None:
    """A client says what it can take: of ten a second it gets two."""
    film = make_clip(tmp_path / "film.avi", ["red", "blue"] * 300)
    with serve(streams={"film": {"source": str(film), "window": 4}}) as served:
        until(lambda: served.client.get("/streams/film").json()["state"] == "live")
        began, shown = time.monotonic(), b""
        with served.client.stream("GET", "/streams/film/live.mjpeg", params={"rate": 2}) as answer:
            for part in answer.iter_raw():
                shown += part
                if shown.count(b"--frame") == 6:
                    break
        assert time.monotonic() - began >= 2.0
