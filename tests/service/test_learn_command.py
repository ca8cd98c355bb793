"""``video-events learn`` end to end: a tiny artifact, real pictures and clips, and ``run`` afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.artifact import save_artifact
from models.preprocessing import Preprocessing
from service.cli import status_of
from service.engines import Engine
from service.engines.stored import StoredModel
from service.learning.store import LabelState, LabelStore
from tests.service.api.conftest import make_clip
from tests.service.fakes import scene

LABELS = ("background", "red")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network; the features of this seed tell violet from yellow."""
    return make_model(tmp_path_factory.mktemp("model"), seed=1)


def make_model(place: Path, seed: int) -> Path:
    import keras

    from models import architectures

    keras.utils.set_random_seed(seed)
    preprocessing = Preprocessing(height=32, width=32, mean=(0.0, 0.0, 0.0), scale=1 / 255)
    network = architectures.build("small_cnn", len(LABELS), preprocessing)
    folder = place / "tiny"
    save_artifact(
        folder,
        network,
        name="tiny",
        version="1",
        architecture="small_cnn",
        options={},
        labels=LABELS,
        preprocessing=preprocessing,
        temperature=1.0,
        records={"training": {}, "metrics": {}},
    )
    for label in LABELS:
        pictures(folder.parent / "data" / label, label, 10)
    data = str(folder.parent / "data")
    assert status_of(["models", "reference", data, "--model", str(folder), "--engine", "tensorflow"]) == 0
    return folder


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "learned"
    monkeypatch.setenv("VIDEO_EVENTS_LEARNED", str(folder))
    return folder


def pictures(folder: Path, name: str, count: int) -> Path:
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = np.clip(scene(name) + rng.normal(0, 8, (48, 64, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_learn_run_list_evaluate_remove(
    model: Path, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label from pictures and a clip is found by run, listed, judged, and gone when removed; nothing
    is written into the model's folder."""
    before = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    folder = pictures(tmp_path / "yellow", "yellow", 6)
    clip = make_clip(tmp_path / "match.avi", ["violet"] * 30 + ["yellow"] * 30)
    arguments = ["--model", str(model), "--engine", "tensorflow"]
    examples = ["--examples", str(folder), "--examples", f"{clip}@3.5-5.5"]
    assert status_of(["learn", "yellow", *examples, *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["label"] == "yellow"
    assert told["examples"] >= 20
    assert told["recognised_when_left_out"] == told["examples"]

    run = ["run", str(clip), "-o", str(tmp_path / "out"), "--no-video", "--window", "4", "--json", *arguments]
    assert status_of([*run, "--labels", "yellow"]) == 0
    events = json.loads(capsys.readouterr().out)["events"]
    assert [event["label"] for event in events] == ["yellow"]
    assert events[0]["start_pts"] == pytest.approx(3.0, abs=0.3)

    assert status_of(["learn", "--list", *arguments]) == 0
    assert "yellow: served" in capsys.readouterr().out
    pictures(tmp_path / "judged" / "yellow", "yellow", 4)
    pictures(tmp_path / "judged" / "red", "violet", 4)
    assert status_of(["learn", "--evaluate", str(tmp_path / "judged"), "--json", *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["learned"]["yellow"] == {"n": 4, "recall": 1.0, "false": 0}
    assert figures["known"]["n"] == 4

    assert status_of(["learn", "--remove", "yellow", "--json", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {"label": "yellow", "removed": True}
    assert status_of([*run, "--labels", "yellow"]) == 2
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_examples_follow_to_another_network_of_the_same_version(
    model: Path, learned: Path, tmp_path: Path
) -> None:
    """Whoever trains twice under one name has two networks: the features of one mean nothing to the other."""
    other = make_model(tmp_path / "other", seed=2)
    folder = pictures(tmp_path / "yellow", "yellow", 6)
    store = LabelStore(learned, "tiny")
    engine = ["--engine", "tensorflow"]
    assert status_of(["learn", "yellow", "--examples", str(folder), "--model", str(model), *engine]) == 0
    before = store.features(store.load().find("yellow"))
    assert status_of(["learn", "--evaluate", str(other.parent / "data"), "--model", str(other), *engine]) == 0
    after = store.features(store.load().find("yellow"))
    assert before.shape == after.shape
    assert np.abs(before - after).max() > 0.01


def test_examples_follow_to_a_new_version(model: Path, learned: Path, tmp_path: Path) -> None:
    """What was learned with an earlier version is embedded anew before it is used."""
    store = LabelStore(learned, "tiny")
    jpegs = [cv2.imencode(".jpg", scene("yellow"))[1].tobytes()] * 5
    store.add("yellow", LabelState.SERVED, "tiny 0", jpegs, np.zeros((5, 7), np.float32))
    clip = make_clip(tmp_path / "clip.avi", ["yellow"] * 30)
    run = ["run", str(clip), "-o", str(tmp_path / "out"), "--no-video", "--engine", "tensorflow"]
    assert status_of([*run, "--model", str(model), "--labels", "yellow"]) == 0
    (label,) = store.load().labels
    assert label.model == StoredModel.read(str(model), Engine.TENSORFLOW).network
    assert store.features(label).shape == (5, 64)


def test_without_a_reference_nothing_is_learned(
    model: Path, learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that nobody told what its known labels look like would see a new one everywhere: it refuses."""
    assert StoredModel.read(str(model), Engine.TENSORFLOW).reference().labels == LABELS
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    (copy / "reference.npz").unlink()
    folder = pictures(tmp_path / "yellow", "yellow", 6)
    assert status_of(["learn", "yellow", "--examples", str(folder), "--model", str(copy)]) == 2
    assert "models reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["learn"], "learn wants NAME"),
        (["learn", "yellow"], "learn wants NAME"),
        (["learn", "yellow", "--examples", "nowhere"], "neither a folder"),
        (["learn", "yellow", "--examples", "few"], "fewer than the 5"),
        (["learn", "red", "--examples", "few"], "already"),
        (["learn", "yellow", "--examples", "broken"], "is not an image"),
        (["learn", "yellow", "--examples", "film.avi@3-1"], "not a time range"),
        (["learn", "yellow", "--examples", "film.avi@30-31"], "no frames"),
        (["learn", "--remove", "yellow"], "no learned label"),
    ],
)
def test_bad_input_is_one_line(
    model: Path,
    learned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    """Exit status 2 and a line that says what is wrong; nothing is learned."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "few", "yellow", 3)
    pictures(tmp_path / "broken", "yellow", 5)
    (tmp_path / "broken" / "2.png").write_bytes(b"nothing")
    (tmp_path / "few" / "folder.jpg").mkdir()
    (tmp_path / "few" / "._0.png").write_bytes(b"what macOS leaves")
    make_clip(tmp_path / "film.avi", ["yellow"] * 20)
    assert status_of([*arguments, "--model", str(model)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not LabelStore(learned, "tiny").load().labels
