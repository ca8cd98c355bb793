from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.uploads import MAX_FIELD_BYTES, MAX_FIELDS, OVERHEAD, Form
from service.clips.store import ClipStore
from service.config import RunSettings
from service.database import Database
from service.errors import StorageError
from service.pipeline import run
from service.sources import open_source
from tests.service.api.conftest import SCENES, Serve, Served, children_of, make_clip, until
from tests.service.api.fakes import ColourProvider
from tests.service.fakes import ColourClassifier, read_video


def children() -> set[int]:
    """Processes that work on clips for this one."""
    found = set()
    for pid in children_of(os.getpid()):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    return body


def test_upload_gives_what_run_gives(served: Served, clip: Path) -> None:
    """The main journey: a clip is uploaded, worked on, and its events are those of the command line."""
    answer = served.upload(clip)
    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    assert accepted["links"]["self"] == answer.headers["location"]
    done = served.wait_for(accepted["id"], "done")
    assert (done["progress"], done["frames"], done["error"], done["name"]) == (1.0, 70, None, "my match.avi")
    with open_source(str(clip)) as source:
        reference = run(source, "x", ColourClassifier(), RunSettings(window=4))
    expected = [(e.label, round(e.start_pts, 3), round(e.end_pts or 0, 3)) for e in reference.events]
    assert [(e["label"], e["start_pts"], e["end_pts"]) for e in done["events"]] == expected
    document = served.client.get(accepted["links"]["events"]).json()
    assert [(e["label"], e["start_pts"], e["end_pts"]) for e in document["events"]] == expected
    assert (document["source"], document["model"], document["window"]) == ("my match.avi", "colours 1", 4)
    table = served.client.get(accepted["links"]["events"], params={"format": "csv"})
    assert len(table.text.splitlines()) == 1 + len(expected)
    assert served.client.get(accepted["links"]["events"], params={"format": "vtt"}).text.startswith("WEBVTT")
    assert not (served.data / "clips" / accepted["id"] / "upload").exists()


def test_annotated_video_with_range(served: Served, clip: Path, tmp_path: Path) -> None:
    """The annotated video has every frame, is named after the upload, and can be fetched in parts.

    A range that is none gets the whole, one beyond the end a reason.
    """
    clip_id = served.upload(clip).json()["id"]
    served.wait_for(clip_id, "done")
    whole = served.client.get(f"/clips/{clip_id}/annotated")
    assert "my%20match_events.avi" in whole.headers["content-disposition"]
    copy = tmp_path / "copy.avi"
    copy.write_bytes(whole.content)
    assert len(read_video(copy)[0]) == len(SCENES)
    part = served.client.get(f"/clips/{clip_id}/annotated", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    for invalid in ("garbage", "bytes=5-2", "lines=1-2"):
        answer = served.client.get(f"/clips/{clip_id}/annotated", headers={"Range": invalid})
        assert (answer.status_code, answer.content) == (200, whole.content)
    beyond = served.client.get(f"/clips/{clip_id}/annotated", headers={"Range": "bytes=99999999999-"})
    is_problem(beyond, 416)
    assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"


def test_running_clip_tells_and_is_cancelled(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """Half-way there are progress and events so far, no video; DELETE ends the process and all files."""
    with serve(ColourProvider(gate=tmp_path / "gate", free=24)) as served:
        clip_id = served.upload(clip).json()["id"]
        half = until(lambda: (c := served.clip(clip_id))["events"] and c)
        assert half["state"] == "running"
        assert half["events"][0]["label"] == "red"
        assert half["events"][0]["end_pts"] is None
        is_problem(served.client.get(f"/clips/{clip_id}/annotated"), 409)
        for kind in ("json", "csv", "vtt"):
            assert served.client.get(f"/clips/{clip_id}/events", params={"format": kind}).status_code == 200
        assert len(children()) >= 1
        assert served.client.delete(f"/clips/{clip_id}").status_code == 204
        is_problem(served.client.get(f"/clips/{clip_id}"), 404)
        is_problem(served.client.delete(f"/clips/{clip_id}"), 404)
        assert list((served.data / "clips").iterdir()) == []
        messages = served.client.get("/events", params={"stream": clip_id}).json()["messages"]
        assert messages[-1]["phase"] == "ended"
        assert messages[-1]["event"]["end_reason"] == "source_lost"
        until(lambda: not [pid for pid in children() if "worker" in _arguments(pid)])


def _arguments(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "playlist"),
        (b"just some text " * 100, "text"),
        (bytes(range(256)) * 40, "not a video"),
    ],
)
def test_not_a_video_is_refused_by_content(served: Served, content: bytes, word: str) -> None:
    """Whatever it is called, what is not a video is answered with 415, a reason, and no path."""
    answer = served.client.post("/clips", files={"file": ("holiday.mp4", content, "video/mp4")})
    detail = is_problem(answer, 415)["detail"]
    assert word in detail
    assert detail.startswith("holiday.mp4")
    assert "clip_" not in detail
    assert list((served.data / "clips").iterdir()) == []


def test_limits_on_size(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """Too many bytes, announced or not, and too large frames are 413; a full quota is 507."""
    large = make_clip(tmp_path / "large.avi", ["red"] * 2, (1280, 720))
    with serve(max_upload_bytes=clip.stat().st_size + 1000, max_pixels=100_000) as served:
        announced = http.client.HTTPConnection("127.0.0.1", served.client.base_url.port)
        announced.putrequest("POST", "/clips")
        announced.putheader("Content-Length", str(10 << 20))
        announced.endheaders()
        assert announced.getresponse().status == 413  # before anything was sent
        announced.close()

        def body() -> Any:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            yield b"\0" * 100_000
            yield b"\r\n--x--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        is_problem(served.client.post("/clips", headers=kind, content=body()), 413)
        is_problem(served.upload(large), 413)
    with serve(clip_quota_bytes=1000) as served:
        is_problem(served.upload(clip), 507)
        assert list((served.data / "clips").iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"labels": "purple"}, "purple"),
        ({"labels": "background"}, "background is no label to choose"),
        ({"labels": ","}, "no label given"),
        ({"enter": "0.2", "exit": "0.5"}, "exit"),
        ({"window": "0"}, "window"),
        ({"nonsense": "1"}, "nonsense"),
    ],
)
def test_options_are_checked(served: Served, clip: Path, fields: dict[str, str], word: str) -> None:
    """An option that cannot work is told by name before any work is done."""
    assert word in json.dumps(is_problem(served.upload(clip, **fields), 422))


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\n", b"garbage", b'--x\r\nContent-Disposition: form-data; name="f']
)
def test_broken_forms(served: Served, body: bytes) -> None:
    """A form that is no form, or breaks off, is the sender's mistake and not the service's."""
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    is_problem(served.client.post("/clips", headers=kind, content=body), 400)
    is_problem(served.client.post("/clips", json={"file": "x"}), 415)
    is_problem(served.client.post("/clips", files={"window": (None, "3")}), 422)


def test_a_video_in_another_field_is_told(served: Served) -> None:
    """Before it is read as text, which it is too long for."""
    answer = served.client.post("/clips", files={"video": ("match.mp4", b"x" * 100_000)})
    assert is_problem(answer, 422)["detail"] == "the video goes into the field 'file', not into 'video'"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="Prüfung.avi"', "Prüfung.avi"),
        ("filename=\"=?utf-8?B?UHLDvA==?=\"; filename*=utf-8''Pr%C3%BC.avi", "Prü.avi"),
        ("filename*=UTF-8'de'Pr%C3%BC.avi; filename=x", "Prü.avi"),
        ("filename*=utf-8''..%2F..%2Fa%00b", "ab"),
    ],
)
def test_names_beyond_ascii(served: Served, clip: Path, disposition: str, name: str) -> None:
    """As browsers send them, and as .NET does."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; {disposition}\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    body = head.encode() + clip.read_bytes() + b"\r\n--x--\r\n"
    accepted = served.client.post("/clips", headers=kind, content=body).json()
    assert served.clip(accepted["id"])["name"] == name


def test_a_field_given_twice_is_refused(served: Served, clip: Path) -> None:
    """One of the two would be lost without a word."""
    files = {"file": (clip.name, clip.read_bytes())}
    answer = served.client.post("/clips", files=files, data={"labels": ["red", "blue"]})
    detail = is_problem(answer, 422)["detail"]
    assert detail == "the field 'labels' is given twice; separate labels by commas"


def test_a_clip_keeps_its_events_though_the_log_forgets(served: Served, clip: Path) -> None:
    """They are kept as long as the clip is, however short the log of events."""
    clip_id = served.upload(clip).json()["id"]
    events = served.wait_for(clip_id, "done")["events"]
    assert len(events) == 2
    assert served.services.log.forget_before(time.time() + 60) > 0
    assert served.clip(clip_id)["events"] == events


def test_results_that_were_deleted_from_the_disk(served: Served, clip: Path) -> None:
    """By hand, that is: the sender is told, the clip still shows its state, and what the log has of it."""
    clip_id = served.upload(clip).json()["id"]
    done = served.wait_for(clip_id, "done")
    shutil.rmtree(served.data / "clips" / clip_id)
    for result in ("annotated", "events", "events?format=csv"):
        detail = is_problem(served.client.get(f"/clips/{clip_id}/{result}"), 404)["detail"]
        assert detail == "the results of this clip were deleted from the disk of this service"
    assert served.clip(clip_id) == done
    described = served.client.get("/openapi.json").json()["paths"]
    for result in ("annotated", "events"):
        assert "404" in described[f"/clips/{{clip_id}}/{result}"]["get"]["responses"]


def test_labels_restrict(served: Served, clip: Path) -> None:
    """Only the labels asked for become events."""
    clip_id = served.upload(clip, labels="blue").json()["id"]
    assert [event["label"] for event in served.wait_for(clip_id, "done")["events"]] == ["blue"]


def test_queue_is_bounded_and_in_order(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """One runs, one waits, the third is told to come back; then both are done, first come first served."""
    gate = tmp_path / "gate"
    with serve(ColourProvider(gate=gate), clips_waiting=1) as served:
        first = served.upload(clip).json()["id"]
        served.wait_for(first, "running")
        second = served.upload(clip).json()["id"]
        refused = served.upload(clip)
        is_problem(refused, 503)
        assert refused.headers["retry-after"]
        assert served.clip(second)["state"] == "queued"
        gate.touch()
        served.wait_for(second, "done")
        assert served.clip(first)["state"] == "done"


def test_clips_are_listed_by_pages(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """The newest first, each once, also where the clip that a page ended with is removed meanwhile."""
    with serve(ColourProvider(gate=tmp_path / "gate")) as served:
        ids = [served.upload(clip).json()["id"] for _ in range(5)][::-1]

        def page(after: str | None = None) -> tuple[list[str], str | None]:
            query = {"limit": 2} | ({"after": after} if after else {})
            answer = served.client.get("/clips", params=query).json()
            return [one["id"] for one in answer["clips"]], answer["next"]

        first, after = page()
        assert first == ids[:2]
        assert served.client.delete(f"/clips/{ids[1]}").status_code == 204
        second, after = page(after)
        assert second == ids[2:4]
        assert page(after) == (ids[4:], None)
        assert served.client.get("/clips").json()["next"] is None
        for wrong in ({"after": ids[0]}, {"after": "1e3-clip_0"}, {"limit": 0}, {"limit": 1001}):
            is_problem(served.client.get("/clips", params=wrong), 422)


def test_restart_takes_up_what_was_interrupted(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """A service stopped in the middle of a clip works on it again; its half-told events are ended first."""
    gate = tmp_path / "gate"
    with serve(ColourProvider(gate=gate, free=24)) as served:
        clip_id = served.upload(clip).json()["id"]
        until(lambda: served.clip(clip_id)["events"])
    gate.touch()
    with serve(ColourProvider(gate=gate)) as served:
        done = served.wait_for(clip_id, "done")
        assert (done["attempt"], len(done["events"])) == (2, 2)
        messages = served.client.get("/events", params={"limit": 1000}).json()["messages"]
        phases: dict[str, list[str]] = {}
        for message in messages:
            phases.setdefault(message["event"]["id"], []).append(message["phase"])
        assert len(phases) == 3
        assert all(steps[0] == "started" and steps[-1] == "ended" for steps in phases.values())
        assert [message["position"] for message in messages] == list(range(1, len(messages) + 1))
        followed = served.client.get("/events", params={"stream": clip_id, "limit": 1000}).json()["messages"]
        assert followed == messages, "who follows a clip by its id does not hear all of it"
        told = served.client.get(f"/clips/{clip_id}/events").json()["events"]
        assert [event["id"] for event in told] == [event["id"] for event in done["events"]]
    with serve() as served:
        assert served.clip(clip_id)["state"] == "done"


def test_a_clip_that_brings_the_service_down_is_given_up(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """A clip during which the service crashed repeatedly fails with that reason instead of doing it again."""
    with serve(ColourProvider(gate=tmp_path / "gate")) as served:
        clip_id = served.upload(clip).json()["id"]
        served.wait_for(clip_id, "running")
    for _ in range(2):  # as a crash would leave it
        with sqlite3.connect(tmp_path / "data" / "video-events.db") as database:
            database.execute("UPDATE clips SET document = json_set(document, '$.state', 'running')")
        database.close()
        with serve(ColourProvider(gate=tmp_path / "gate")) as served:
            until(lambda: served.clip(clip_id)["state"] in ("running", "failed"))
            last = served.clip(clip_id)
    assert last["state"] == "failed"
    assert last["error"] == "given up after 2 crashes: the service went down while it worked on this clip"
    assert list((tmp_path / "data" / "clips").iterdir()) == []


@pytest.mark.parametrize(
    ("provider", "word"),
    [(ColourProvider(dies=True), "signal 9"), (ColourProvider(hog=4 << 30), "memory")],
)
def test_a_bad_end_is_told(serve: Serve, clip: Path, provider: ColourProvider, word: str) -> None:
    """A process that is killed, or wants too much memory, fails its clip with a reason; the rest goes on."""
    with serve(provider, clip_memory_bytes=1 << 30) as served:
        clip_id = served.upload(clip).json()["id"]
        failed = served.wait_for(clip_id, "failed")
        assert word in failed["error"]
        assert list((served.data / "clips").iterdir()) == []
        is_problem(served.client.get(f"/clips/{clip_id}/annotated"), 409)
        assert served.client.get("/readyz").status_code == 200


def test_a_silent_process_is_killed(serve: Serve, clip: Path, tmp_path: Path) -> None:
    """A process that says nothing for too long is ended, so that it cannot hold up the queue for ever."""
    with serve(ColourProvider(gate=tmp_path / "never"), clip_stall_seconds=3) as served:
        clip_id = served.upload(clip).json()["id"]
        assert "no progress" in served.wait_for(clip_id, "failed")["error"]


def test_a_full_disk_can_be_emptied(served: Served, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files go first, which needs no room; a clip that could not be forgotten can be removed again."""
    clip_id = served.upload(clip).json()["id"]
    served.wait_for(clip_id, "done")
    said = sqlite3.OperationalError("database or disk is full")
    said.sqlite_errorcode = sqlite3.SQLITE_FULL

    def full(self: Database, task: object) -> None:
        raise StorageError("the database could not be written") from said

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", full)
        is_problem(served.client.delete(f"/clips/{clip_id}"), 507)
        said.sqlite_errorcode = sqlite3.SQLITE_IOERR
        is_problem(served.client.delete(f"/clips/{clip_id}"), 503)
    assert not (served.data / "clips" / clip_id).exists()
    assert served.client.get(f"/clips/{clip_id}").status_code == 200
    assert served.client.delete(f"/clips/{clip_id}").status_code == 204
    is_problem(served.client.get(f"/clips/{clip_id}"), 404)


def test_a_file_that_cannot_be_made_is_told(
    served: Served, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk refuses is the disk's fault, not one of the service that its log has to explain."""
    monkeypatch.setattr(ClipStore, "make_folder", lambda self, clip_id: None)
    is_problem(served.upload(clip), 503)


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 503), (errno.EACCES, 503)]
)
def test_only_want_of_space_is_told_as_such(
    served: Served, clip: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    """Who removes clips to make room must not do so in vain; either way it is worth another try later."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Form, "callbacks", lambda self: {"on_part_begin": fail})
    answer = served.upload(clip)
    is_problem(answer, status)
    assert answer.headers["retry-after"]
    assert list((served.data / "clips").iterdir()) == []


def test_old_clips_are_removed(serve: Serve, clip: Path) -> None:
    """Retention removes what was finished long ago, files included."""
    with serve(keep_clips_days=1e-9) as served:
        clip_id = served.upload(clip).json()["id"]
        served.wait_for(clip_id, "done")
        served.services.clips.tidy()
        is_problem(served.client.get(f"/clips/{clip_id}"), 404)
        assert list((served.data / "clips").iterdir()) == []


def test_a_form_is_small_beside_its_file(served: Served) -> None:
    """Neither many fields nor a long one can fill the memory; as much as may be is read."""
    large, many = {"labels": "x" * (MAX_FIELD_BYTES + 1)}, {f"f{n}": "1" for n in range(MAX_FIELDS)}
    file = {"file": ("a.avi", b"x")}
    assert "bytes at most" in is_problem(served.client.post("/clips", files=file, data=large), 413)["detail"]
    assert "fields at most" in is_problem(served.client.post("/clips", files=file, data=many), 413)["detail"]
    fits = {"labels": "x" * MAX_FIELD_BYTES} | {f"f{n}": "1" for n in range(MAX_FIELDS - 2)}
    assert served.client.post("/clips", files=file, data=fits).status_code != 413
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"\r\n" * OVERHEAD + b"--x--", b"--x--\r\n" + b"x" * OVERHEAD):
        answer = served.client.post("/clips", content=body, headers=kind)
        assert "beside its file" in is_problem(answer, 413)["detail"]
