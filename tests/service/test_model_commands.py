"""The commands about models, as a person gives them."""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import architectures
from models.artifact import list_artifacts, load_artifact
from models.datasets import Sample
from models.imagenet import read_tensorflowjs
from service.cli import status_of
from service.commands.models import judged_labels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve noisy pictures of each of two colours, as <label>/<image>."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for label, color in {"blue": (200, 40, 30), "red": (30, 40, 200)}.items():
        (root / label).mkdir()
        for number in range(12):
            picture = np.clip(rng.normal(0, 25, (48, 64, 3)) + color, 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / label / f"{number:02}.png"), picture)
    return root


@pytest.fixture(scope="module")
def start_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TensorFlow.js folder that holds a whole ResNet50 of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    network = architectures.build("resnet50", 2)
    specs, data = [], []
    for layer in network.layers:
        if layer.name.startswith("conv"):
            for variable in layer.weights:
                specs.append({"name": variable.path, "shape": list(variable.shape), "dtype": "float32"})
                data.append(np.asarray(variable).tobytes())
    (folder / "all.bin").write_bytes(b"".join(data))
    manifest = [{"paths": ["all.bin"], "weights": specs}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    return folder


def test_a_model_may_learn_from_the_validation_images_in_the_end(
    pictures: Path, start_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures on them are of the head before; later nothing passes for a judgement by them."""
    run = tmp_path / "run"
    arguments = ["train", str(pictures), "-o", str(run), "--learn-valid", "--epochs", "0"]
    arguments += ["--imagenet-weights", str(start_weights), "--head-epochs", "1", "--batch-size", "8"]
    assert status_of(arguments) == 0
    artifact = run / "artifact"
    assert {"valid"} == json.loads((artifact / "metrics.json").read_text()).keys()
    capsys.readouterr()
    assert status_of(["evaluate", str(pictures), "--model", str(artifact), "--split", "valid"]) == 0
    assert "model has learned from 2 of these images" in capsys.readouterr().err
    again = ["train", str(pictures), "-o", str(tmp_path / "on"), "--start-from", str(artifact)]
    assert status_of([*again, "--epochs", "0"]) == 2
    assert "was trained on 2 images now to validate or test" in capsys.readouterr().err


def test_what_earlier_models_learned_from_is_known_to_those_that_go_on(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their images judge nothing that went on with others, nor a mean of it; its own are where they were."""
    others = tmp_path / "others"
    for path in pictures.rglob("*.png"):
        (others / path.parent.name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(others / path.parent.name / path.name), cv2.flip(cv2.imread(str(path)), 1))
    once, on, mean = (tmp_path / name for name in ("once", "and on", "mean"))
    train = ["--architecture", "small_cnn", "--epochs", "1"]
    assert status_of(["train", str(pictures), "-o", str(once), "--seed", "3", *train]) == 0
    go_on = ["--start-from", str(once / "artifact")]
    assert status_of(["train", str(others), "-o", str(on), *go_on, *train]) == 0
    assert (
        status_of(["models", "average", str(on / "artifact"), str(once / "artifact"), "-o", str(mean)]) == 0
    )
    assert f"video-events export '{on / 'artifact'}' --data {others}" in capsys.readouterr().err
    then = load_artifact(once / "artifact").record("training")["division"]
    for model in (on / "artifact", mean):
        division = load_artifact(model).record("training")["division"]
        assert set(then["train"].split()) < set(division["train"].split())
    listed = "".join(f"{label}/{n:02}.png,{label},test\n" for label in ("blue", "red") for n in range(12))
    (tmp_path / "test.csv").write_text(f"path,label,split\n{listed}")
    splits = ["--splits", str(tmp_path / "test.csv"), "--json", "--model", str(on / "artifact")]
    capsys.readouterr()
    assert status_of(["evaluate", str(pictures), *splits]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 24 - len(then["train"].split())
    own = load_artifact(on / "artifact").record("training")["division"]["test"].split()
    assert status_of(["evaluate", str(others), *splits]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == len(own)


def test_train_evaluate_show(
    pictures: Path, start_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of pictures becomes a model that evaluate and show understand, and a report."""
    run = tmp_path / "run"
    arguments = ["train", str(pictures), "-o", str(run), "--name", "colors", "--test"]
    arguments += ["--imagenet-weights", str(start_weights), "--train-size", "32", "--batch-size", "8"]
    arguments += ["--head-epochs", "2", "--epochs", "1", "--unfreeze", "conv5"]
    assert status_of(arguments) == 0
    assert f"model {run / 'artifact'}" in capsys.readouterr().out
    assert (run / "report" / "learning_curves.png").is_file()
    assert (run / "report" / "test" / "confusion_matrix.png").is_file()

    assert status_of(["evaluate", str(pictures), "--model", str(run / "artifact"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    stored = json.loads((run / "artifact" / "metrics.json").read_text())["test"]["all"]
    assert found["model"] == "colors"
    assert found["split"] == "test"
    assert found["n"] == 4
    assert found["accuracy"] == stored["accuracy"]
    assert found["confusion_matrix"] == stored["confusion_matrix"]

    assert status_of(["models", "show", str(run / "artifact")]) == 0
    shown = capsys.readouterr().out
    assert "blue, red" in shown
    assert re.search(r"^trained +preset video, [1-9]\d* (s|min), tensorflow$", shown, re.MULTILINE)


def test_a_mean_of_models_is_one_to_go_on_from(
    pictures: Path, start_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quarter of ImageNet's weights in the base, the head as it was; then the head is fitted to that."""
    options = ["--imagenet-weights", str(start_weights)]
    train = ["train", str(pictures), "--train-size", "32", "--batch-size", "8"]
    once = ["-o", str(tmp_path / "once"), "--head-epochs", "1", "--epochs", "1", "--learning-rate", "0.01"]
    assert status_of([*train, *once, *options]) == 0
    first, mean = tmp_path / "once" / "artifact", tmp_path / "mean"
    assert status_of(["models", "average", str(first), "--imagenet", "0.25", *options, "-o", str(mean)]) == 0
    captured = capsys.readouterr()
    assert f"model {mean}" in captured.out
    assert f"--start-from {mean} --epochs 0" in captured.err
    was, now, began = (
        load_artifact(first).weights(),
        load_artifact(mean).weights(),
        read_tensorflowjs(start_weights),
    )
    kernel = "conv5_block3_3_conv/kernel"
    assert np.abs(was[kernel] - began[kernel]).max() > 0.001
    np.testing.assert_allclose(now[kernel], 0.75 * was[kernel] + 0.25 * began[kernel], atol=1e-3)
    np.testing.assert_array_equal(now["head_logits/kernel"], was["head_logits/kernel"])
    assert status_of(["models", "show", str(mean)]) == 0

    go_on = ["-o", str(tmp_path / "more"), "--start-from", str(mean), "--epochs", "0"]
    assert status_of([*train, *go_on]) == 0
    went_on = load_artifact(tmp_path / "more" / "artifact")
    np.testing.assert_array_equal(went_on.weights()[kernel], now[kernel])
    before = went_on.record("training")["before"]
    assert before["files"] == load_artifact(mean).files
    (part,) = before["training"]["average"]["models"]
    assert part["training"]["settings"]["learning_rate"] == 0.01
    assert "division" not in part["training"]
    assert (went_on.weights()["head_logits/kernel"] != now["head_logits/kernel"]).any()


def test_the_model_that_ships_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """What it went on from is told beside the time, which is that of the last training alone."""
    assert status_of(["models", "show"]) == 0
    assert "trained      preset video, 9 min, tensorflow, from sports mean" in capsys.readouterr().out


@pytest.mark.parametrize("library", ["jinja2", "matplotlib", "scipy", "sklearn"])
def test_a_missing_library_is_told_before_the_training(
    library: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not when the report is to be written, hours later."""
    monkeypatch.setitem(sys.modules, library, None)
    train = ["train", str(pictures), "-o", str(tmp_path / "run")]
    (tmp_path / "grid.toml").touch()
    for arguments in (train, [*train, "--grid", str(tmp_path / "grid.toml")], ["evaluate", str(pictures)]):
        assert status_of(arguments) == 2
        assert f"{library} not found; run: pip install 'video-events[train]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_mistakes_are_one_line_and_status_2(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the arguments, a person reads one line that says what to do."""
    file = tmp_path / "a.txt"
    file.touch()
    for arguments, hint in [
        (["train", str(tmp_path / "nowhere"), "-o", str(tmp_path / "run")], "not a folder"),
        (
            ["train", str(pictures), "-o", str(tmp_path / "run"), "--preset", "radio"],
            "there are video, lecture",
        ),
        (["train", str(pictures), "-o", str(tmp_path / "run"), "--labels", "blue,pink"], "no images of pink"),
        (["evaluate", str(pictures), "--model", "sprots"], "no model 'sprots'"),
        (["evaluate", str(pictures), "--enter", "nan", "--json"], "--enter must be above 0"),
        (["evaluate", str(pictures), "--enter", "1.1"], "--enter must be above 0 and at most 1, got 1.1"),
        (["evaluate", str(pictures), "-o", str(file)], "cannot make the folder"),
        (["train", str(pictures), "-o", str(file), "--architecture", "small_cnn"], "cannot make the folder"),
        (["models", "show", "sprots"], "no model 'sprots'"),
        (
            ["models", "average", "sports", "-o", str(tmp_path / "mean")],
            "takes two models or more, or one and",
        ),
        (["models", "average", "sports", "--imagenet", "1", "-o", str(tmp_path / "mean")], "below 1, not 1"),
        (["models", "average", "sports", "sports", "-o", str(file)], "cannot make the folder"),
    ]:
        assert status_of(arguments) == 2
        captured = capsys.readouterr()
        assert hint in captured.err
        assert len(captured.err.strip().splitlines()) == 1
        assert not captured.out


def test_a_model_is_judged_over_all_its_labels() -> None:
    """What it takes for a label that the images lack is a mistake; only the background may be left out."""
    labels = ("background", "blue", "green", "red")
    samples = [Sample(Path(f"{label}.png"), label, "test") for label in ("blue", "red")]
    assert judged_labels(labels, samples) == ("blue", "green", "red")
    assert judged_labels(labels, [Sample(Path("1.png"), "background", "test"), *samples]) == labels


def test_the_models_that_ship_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """``models list`` verifies every artifact of the repository and names it."""
    assert status_of(["models", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list_artifacts()
