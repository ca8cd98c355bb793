"""Labels learned over HTTP: on trial, through a restart, promoted and dropped while a stream runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from service.api import example_form
from service.errors import StoppingError
from service.learning import intake
from service.learning.store import LabelState, LabelStore, LearnedLabel
from service.learning.trainer import Trainer
from tests.service.api.conftest import Serve, Served, make_clip, until
from tests.service.api.fakes import ColourProvider
from tests.service.fakes import scene

OPTIONS = {"window": 4, "min_duration": 0.3, "merge_gap": 0.5, "frozen_after": 0, "blind_after": 0}
PATH = "/models/colours/labels"


def images(name: str, count: int = 6) -> list[tuple[str, tuple[str, bytes]]]:
    """Form fields of example images, each a little different."""
    fields = []
    for number in range(count):
        image = np.clip(scene(name).astype(int) + number, 0, 255).astype(np.uint8)
        fields.append(("file", (f"{number}.png", cv2.imencode(".png", image)[1].tobytes())))
    return fields


def learn(served: Served, label: str = "yellow", **more: Any) -> httpx.Response:
    return served.client.post(PATH, data={"label": label} | more, files=images(label))


def label_of(served: Served, label: str = "yellow") -> dict[str, Any]:
    answer = served.client.get(f"{PATH}/{label}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def announced(served: Served) -> set[str]:
    """All labels of which any subscriber has ever been told."""
    messages = served.client.get("/events", params={"limit": 1000}).json()["messages"]
    return {message["event"]["label"] for message in messages}


def lives(served: Served) -> dict[str, list[str]]:
    """The phases that subscribers were told of, by label."""
    found: dict[str, list[str]] = {}
    for message in served.client.get("/streams/film/events", params={"limit": 1000}).json()["messages"]:
        found.setdefault(message["event"]["label"], []).append(message["phase"])
    return found


def is_open(served: Served, label: str) -> bool:
    return lives(served)[label][-1] != "ended"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two minutes, a second of each colour in turn."""
    return make_clip(tmp_path / "film.avi", (["red"] * 15 + ["yellow"] * 15) * 40)


def test_a_label_goes_from_trial_to_service_and_away(serve: Serve, film: Path) -> None:
    """On trial it is counted and told to nobody, also after a restart; promoted it is announced at once on a
    stream that goes on; dropped it is gone, and what was recorded before stays."""
    streams = {"film": {"source": str(film), **OPTIONS}}
    with serve(streams=streams) as served:
        until(lambda: "red" in announced(served))
        answer = learn(served)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"{PATH}/yellow"
        assert answer.json()["state"] == "shadow"
        assert learn(served).status_code == 409
        until(lambda: label_of(served)["comparison"]["events"] >= 2)
        (trial,) = label_of(served)["comparison"]["streams"]
        assert trial["stream"] == "film"
        until(lambda: label_of(served)["comparison"]["frames"] >= 50)
        newest = label_of(served)["comparison"]["newest"]
        assert {event["label"] for event in newest} == {"yellow"}
    with serve(streams=streams) as served:
        shown = served.client.get(PATH).json()
        assert [(one["name"], one["state"]) for one in shown["learned"]] == [("yellow", "shadow")]
        before = label_of(served)["comparison"]["events"]
        assert before >= 2
        until(lambda: label_of(served)["comparison"]["events"] > before)
        assert "yellow" not in announced(served)
        assert "yellow" not in served.client.get("/models").json()["models"][0]["labels"]

        open_event = until(lambda: served.client.get("/streams/film").json()["label"] == "red")
        assert open_event
        assert served.client.post(f"{PATH}/yellow/promote").json()["state"] == "served"
        until(lambda: "yellow" in announced(served))
        stream = served.client.get("/streams/film").json()
        assert (stream["restarts"], stream["attempt"], stream["state"]) == (0, 1, "live")
        assert "yellow" in served.client.get("/models").json()["models"][0]["labels"]
        messages = served.client.get("/streams/film/events", params={"limit": 1000}).json()["messages"]
        events = [message["event"] for message in messages if message["phase"] == "ended"]
        ends = {event["end_reason"] for event in events if event["label"] == "red"}
        assert not ends & {"blind"}, "promoting a label ended an event of another"

        assert served.client.delete(f"{PATH}/yellow").status_code == 204
        assert served.client.delete(f"{PATH}/yellow").status_code == 404
        assert served.client.get(PATH).json()["learned"] == []
        until(lambda: not is_open(served, "yellow"))
        stream, told = served.client.get("/streams/film").json(), len(lives(served)["yellow"])
        assert stream["restarts"] == 0
        until(lambda: served.client.get("/streams/film").json()["frames"] > stream["frames"] + 40)
        assert len(lives(served)["yellow"]) == told


def test_a_stream_that_looks_for_a_dropped_label_alone_fails(serve: Serve, film: Path) -> None:
    """It would say background for ever; so it also does before there is such a label."""
    streams = {"film": {"source": str(film), **OPTIONS, "labels": ["yellow"]}}
    with serve(streams=streams) as served:

        def state() -> tuple[str, str]:
            shown = served.client.get("/streams/film").json()
            return shown["state"], shown["reason"] or ""

        until(lambda: state()[0] == "failed")
        assert learn(served).status_code == 201
        assert served.client.post(f"{PATH}/yellow/promote").status_code == 200
        until(lambda: "yellow" in announced(served))
        assert served.client.delete(f"{PATH}/yellow").status_code == 204
        until(lambda: state()[0] == "failed" and "yellow" in state()[1])
        until(lambda: not is_open(served, "yellow"))


def test_labels_of_an_earlier_version_follow_by_themselves(serve: Serve, tmp_path: Path) -> None:
    """What was learned with another version of the model is embedded anew from its stored examples."""
    store = LabelStore(tmp_path / "data" / "learned", "colours")
    jpegs = [cv2.imencode(".jpg", scene("yellow"))[1].tobytes() for _ in range(5)]
    store.add("yellow", LabelState.SERVED, "colours 0", jpegs, np.zeros((5, 3), np.float32))
    with serve() as served:
        until(lambda: label_of(served)["learned_with"] == "colours 1")
        until(lambda: "yellow" in served.client.get("/about").json()["labels"])
        clip = make_clip(tmp_path / "clip.avi", ["red"] * 10 + ["yellow"] * 30)
        done = served.wait_for(served.upload(clip).json()["id"], "done")
        assert "yellow" in {event["label"] for event in done["events"]}
        assert served.upload(clip, labels="yellow").status_code == 202


@pytest.mark.parametrize(
    ("form", "files", "status", "words"),
    [
        ({"label": "yellow"}, images("yellow", 4), 422, "fewer than the 5"),
        ({"label": "red"}, images("yellow"), 409, "already"),
        ({"label": "background"}, images("yellow"), 409, "already"),
        ({"label": "a,b"}, images("yellow"), 422, "letters, digits"),
        ({"label": ""}, images("yellow"), 422, "give 'label'"),
        ({"label": ["a", "b"]}, images("yellow"), 422, "the field 'label' is given twice"),
        ({"label": "yellow"}, [("file", ("x.png", b"no image"))] * 5, 422, "is not an image"),
        ({"label": "yellow", "stream": "s", "recording": "r", "range": "5-1"}, [], 422, "time range"),
        ({"label": "yellow", "stream": "s", "recording": "r", "range": "1-5"}, [], 404, "no stream"),
    ],
)
def test_bad_forms_are_told_what_is_wrong(
    served: Served, form: dict[str, Any], files: list[Any], status: int, words: str
) -> None:
    """Every refusal is a problem document in words that help, and nothing is left behind."""
    answer = served.client.post(PATH, data=form, files=files or {"none": b""})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert served.client.get(PATH).json()["learned"] == []


def test_limits_of_size_and_number(serve: Serve) -> None:
    """Neither one huge image nor very many are taken in."""
    with serve(max_example_bytes=1000) as served:
        huge = [("file", ("big.png", b"0" * 2000))]
        assert served.client.post(PATH, data={"label": "x"}, files=huge).status_code == 413
        many = [("file", (f"{number}.png", b"0")) for number in range(101)]
        assert served.client.post(PATH, data={"label": "x"}, files=many).status_code == 400
        assert served.client.get("/models/other/labels").status_code == 404


def test_a_form_has_a_limit_as_a_whole(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many images, none of which is too large, are refused before they fill the memory."""
    monkeypatch.setattr(example_form, "MOST_BYTES", 10 << 20)
    files = [("file", (f"{number}.png", bytes(4 << 20))) for number in range(3)]
    answer = served.client.post(PATH, data={"label": "x"}, files=files)
    assert answer.status_code == 413, answer.text
    assert "all examples together" in answer.json()["detail"]


def test_lessons_that_wait_hold_up_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the network does not answer, two forms are taken in and the others stay with their senders; all
    else goes on, and the service ends as fast as ever."""
    received: list[str] = []
    waiting: list[str] = []
    receive, teach = example_form.receive, Trainer.learn

    async def noted_receive(*arguments: Any) -> example_form.ExampleForm:
        received.append("form")
        return await receive(*arguments)

    def noted_learn(self: Trainer, name: str, *arguments: Any, **more: Any) -> LearnedLabel:
        waiting.append(name)
        return teach(self, name, *arguments, **more)

    monkeypatch.setattr(example_form, "receive", noted_receive)
    monkeypatch.setattr(Trainer, "learn", noted_learn)

    def ask(served: Served, number: int) -> None:
        with suppress(httpx.HTTPError):  # the service ends
            httpx.post(served.url + PATH, data={"label": f"y{number}"}, files=images("yellow"), timeout=60)

    with ThreadPoolExecutor(8) as senders, serve(ColourProvider(gate=tmp_path / "never")) as served:
        for number in range(8):
            senders.submit(ask, served, number)
        until(lambda: len(waiting) == 2)
        assert len(received) == 2
        assert served.client.get("/models").status_code == 200
        assert served.upload(make_clip(tmp_path / "clip.avi")).status_code == 202
        assert len(received) == 2


def test_decoding_ends_with_the_service() -> None:
    """Examples that take long to be decoded do not hold up the end."""

    def refuse() -> None:
        raise StoppingError("the service is being stopped")

    (field,) = images("yellow", 1)
    with pytest.raises(StoppingError):
        intake.take_images([field[1]], refuse)


def test_pictures_of_a_camera_s_size_are_taken(served: Served) -> None:
    """Megabytes of pictures are taken in and kept small."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(5):
        noise = np.clip(rng.normal(0, 40, (720, 1280, 3)) + scene("yellow", 1280, 720), 0, 255)
        data = cv2.imencode(".png", noise.astype(np.uint8))[1].tobytes()
        files.append(("file", (f"{number}.png", data)))
    assert sum(len(data) for _, (_, data) in files) > 5 << 20
    answer = served.client.post(PATH, data={"label": "noise"}, files=files)
    assert answer.status_code == 201, answer.text
    stored = list((served.data / "learned").rglob("*.jpg"))
    assert len(stored) == 5
    assert all(cv2.imread(str(path)).shape == (360, 640, 3) for path in stored)


def test_a_damaged_index_stops_nothing_but_lessons(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All goes on with the labels that the network has; nobody is told where the file lies but the log."""
    index = tmp_path / "data" / "learned" / "colours" / "labels.json"
    index.parent.mkdir(parents=True)
    index.write_text('{"format": 1, "labels": [{')
    with serve() as served:
        for path in ("/about", "/models", PATH):
            assert served.client.get(path).status_code == 200
        assert served.client.get("/about").json()["labels"] == ["red", "green", "blue", "background"]
        assert served.upload(make_clip(tmp_path / "clip.avi")).status_code == 202
        refused = learn(served)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert str(tmp_path) not in refused.text
    ours = [one.getMessage() for one in caplog.records if one.name == "service.learning.store"]
    assert len(ours) == 1
    assert str(index) in ours[0]


def test_only_managers_teach(serve: Serve) -> None:
    """Who may only see or upload can neither add, promote nor drop a label."""
    tokens = [{"name": "up", "token": "u" * 20, "scopes": ["upload"]}]
    with serve(tokens=tokens) as served:
        headers = {"Authorization": "Bearer " + "u" * 20}
        assert served.client.get(PATH, headers=headers).status_code == 200
        assert served.client.post(PATH, headers=headers).status_code == 403
        assert served.client.post(f"{PATH}/x/promote", headers=headers).status_code == 403
        assert served.client.delete(f"{PATH}/x", headers=headers).status_code == 403


def test_the_model_warns_of_a_label_that_it_knows_by_another_name(served: Served) -> None:
    """Examples that the model is sure to be red are learned as crimson, with a warning in figures."""
    answer = served.client.post(PATH, data={"label": "crimson"}, files=images("red"))
    assert answer.status_code == 201, answer.text
    assert any("6 of 6" in text and "'red'" in text for text in answer.json()["warnings"])


def test_from_time_ranges_of_a_recording(serve: Serve, tmp_path: Path) -> None:
    """Seconds of a stream's recording serve as examples just as pictures do."""
    film = make_clip(tmp_path / "short.avi", ["red"] * 30)
    with serve(streams={"film": {"source": str(film), **OPTIONS}}) as served:
        folder = served.data / "recordings" / "film"
        folder.mkdir(parents=True, exist_ok=True)
        make_clip(folder / "event.avi", ["red"] * 20 + ["yellow"] * 30)
        form = {"label": "yellow", "stream": "film", "recording": "event.avi", "range": "2.2-4.8"}
        answer = served.client.post(PATH, data=form, files={"none": b""})
        assert answer.status_code == 201, answer.text
        assert 15 <= answer.json()["examples"] <= 20
        form["recording"] = "../../video-events.db"
        assert served.client.post(PATH, data=form | {"label": "x"}, files={"none": b""}).status_code == 404
