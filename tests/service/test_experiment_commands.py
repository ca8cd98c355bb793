"""Experiments, grids and comparisons, as a person gives them, on real trainings of tiny networks."""

import csv
import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from models.artifact import load_artifact
from models.checkpoints import epoch_callbacks
from models.datasets import read_image
from models.errors import DatasetError
from models.experiments.experiment import Experiment
from service.cli import status_of
from service.commands import train
from service.commands.statuses import INTERRUPTED

INTERRUPTED_PROGRAM = """
import os, signal, threading, time
from service.commands.train import interrupts_heard

threading.Thread(target=time.sleep, args=(60,)).start()
with interrupts_heard():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    try:
        time.sleep(60)
    except KeyboardInterrupt as error:
        raise ValueError("made of it by TensorFlow") from error
"""
"""Loses an interrupt, takes the next one for something else, and has a thread that would hold up its end."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen noisy pictures of each of two colours, in four groups."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    rows = ["path,label,split,group"]
    for label, color in {"blue": (200, 40, 30), "red": (30, 40, 200)}.items():
        (root / label).mkdir()
        for number in range(16):
            picture = np.clip(rng.normal(0, 25, (24, 24, 3)) + color, 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / label / f"{number:02}.png"), picture)
            split = ["train", "train", "valid", "test"][number % 4]
            rows.append(f"{label}/{number:02}.png,{label},{split},camera{number % 4}")
    (root / "splits.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def grid(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a grid of two runs, of which one cannot be."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.toml").write_text(
        f'data = "{pictures}"\noptimizer = "adam"\nbatch_size = 8\nepochs = 2\ntest = true\n'
        '[grid]\narchitecture = ["small_cnn", "bogus"]\n'
    )
    assert status_of(["train", "--grid", str(folder / "grid.toml"), "-o", str(folder / "out")]) == 2
    return folder


def the_run(grid: Path) -> Path:
    (results,) = (grid / "out").glob("*/results.json")
    return results.parent


def test_a_run_leaves_everything_that_one_wants_to_know(grid: Path) -> None:
    """Parameters, data, times, figures of every split, a prediction for every image, and a page."""
    run = the_run(grid)
    results = json.loads((run / "results.json").read_text())
    assert results["parameters"]["optimizer"] == "adam"
    assert results["settings"]["batch_size"] == 8
    assert results["images"] == {"valid": 8, "train": 16, "test": 8}
    assert results["data"]["test"] == {"blue": 4, "red": 4}
    assert set(results["splits"]) == {"train", "valid", "test"}
    assert {"accuracy", "loss", "mean_roc_auc", "confusion_matrix"} <= results["splits"]["test"].keys()
    assert [row["epoch"] for row in results["history"]] == [1, 2]
    assert results["parameter_count"]["total"] > 10_000
    assert results["seconds"]["training"] > 0
    assert {"python", "keras", "numpy"} <= results["versions"].keys()
    with (run / "frame_predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 32
    assert {row["video"] for row in rows if row["split"] == "test"} == {"camera3"}
    assert all(float(row["p_blue"]) + float(row["p_red"]) == pytest.approx(1, abs=1e-5) for row in rows)
    assert all((row["label"] != row["prediction"]) == (row["error"] == "1") for row in rows)
    wrong = sum(row["error"] == "1" for row in rows if row["split"] == "valid")
    assert results["splits"]["valid"]["accuracy"] == pytest.approx(1 - wrong / 8, abs=1e-4)


def test_the_log_of_a_run_is_plain_lines(grid: Path) -> None:
    """Bars and escape codes are for terminals; a file gets the figures of each epoch, once, and no notes of
    TensorFlow's about itself."""
    log = (the_run(grid) / "log.txt").read_text()
    assert not {"\x1b", "\b", "\r"} & set(log)
    epochs = [line.partition(",")[0] for line in log.splitlines() if "val_accuracy" in line]
    assert epochs == ["epoch 1 of 2", "epoch 2 of 2"]
    assert "oneDNN" not in log


def test_the_figures_of_a_run_are_those_of_the_stored_model(grid: Path, pictures: Path) -> None:
    """Its weights are rounded, and images in doubt would get another label."""
    model = load_artifact(the_run(grid) / "artifact")
    with (the_run(grid) / "frame_predictions.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "train"]
    files = [pictures / row["label"] / row["frame"] for row in rows]
    seen = [model.preprocessing.model_input(read_image(file)) for file in files]
    found = np.asarray(model.build().predict_on_batch(np.stack(seen).astype(np.float32)))
    np.testing.assert_allclose(found[:, 0], [float(row["p_blue"]) for row in rows], atol=5e-6)


def test_the_page_asks_for_nothing_outside(grid: Path) -> None:
    """A report can be sent to somebody, and opens without a network."""
    page = (the_run(grid) / "report" / "report.html").read_text()
    for split in ("train", "valid", "test"):
        assert f"Split “{split}”" in page
    assert page.count("<svg") == 7
    for trace in ('src="http', 'href="http', "@import", "url(http", "<script", "<link"):
        assert trace not in page
    assert "currentColor" in page


def test_a_grid_says_what_failed_and_does_nothing_twice(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table holds both runs; the same command again begins none, and its status tells of a failed one."""
    with (grid / "out" / "table.csv").open() as lines:
        rows = {row["architecture"]: row for row in csv.DictReader(lines)}
    assert rows["small_cnn"]["state"] == "done"
    assert rows["bogus"]["state"] == "failed"
    assert "bogus" in rows["bogus"]["error"]
    before = (the_run(grid) / "log.txt").stat().st_mtime_ns
    assert status_of(["train", "--grid", str(grid / "grid.toml"), "-o", str(grid / "out")]) == 2
    captured = capsys.readouterr()
    assert "run 1" not in captured.err
    assert "run 2" not in captured.err
    assert "failed: architecture-bogus" in captured.out
    assert "1 of 2 runs failed; --retry" in captured.err
    assert (the_run(grid) / "log.txt").stat().st_mtime_ns == before


def test_runs_are_compared(grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table, as JSON and as a page that is not overwritten."""
    page = tmp_path / "page.html"
    assert status_of(["compare", str(grid / "out"), "--json", "-o", str(page)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in rows] == [the_run(grid).name]
    assert "<svg" in page.read_text()
    assert status_of(["compare", str(grid / "out"), "-o", str(page)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert status_of(["compare", str(the_run(grid))]) == 0
    assert "valid accuracy" in " ".join(capsys.readouterr().out.split())


class Spoiler(keras.callbacks.Callback):
    """From the second epoch on no weight is a number."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == 1:
            for weight in self.model.trainable_variables:
                weight.assign(np.full(weight.shape, np.nan))


def test_a_training_that_diverges_keeps_the_epochs_before_and_says_so(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures are JSON that every program reads, and the same command again trains no further."""
    monkeypatch.setattr("models.epochs.epoch_callbacks", lambda *given: [Spoiler(), *epoch_callbacks(*given)])
    arguments = ["train", str(pictures), "-o", str(tmp_path), "--architecture", "small_cnn", "--epochs", "4"]
    for _ in range(2):
        assert status_of(arguments) == 0
        told = capsys.readouterr().err
        assert "the validation loss of epoch 2 is no number; kept is the network of epoch 1" in told
        text = (tmp_path / "results.json").read_text()
        history = json.loads(text, parse_constant=pytest.fail)["history"]
        assert [row["epoch"] for row in history] == [1, 2]
        assert history[0]["val_loss"] > 0
        assert history[1]["val_loss"] is None
    assert status_of(["compare", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 0


def test_all_images_are_made_sure_of_before_the_training(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images that cannot be read end it; those that are listed for training too are not trained on."""
    data = shutil.copytree(pictures, tmp_path / "data")
    with (data / "splits.csv").open("a") as rows:
        rows.write("blue/00.png,blue,test,camera0\n")
    given = ["--architecture", "small_cnn", "--epochs", "1", "--test"]
    assert status_of(["train", str(data), "-o", str(tmp_path / "run"), *given]) == 0
    told = capsys.readouterr()
    assert "left out: 1 image of train or valid, in valid or test too" in told.err
    judged = json.loads((tmp_path / "run" / "results.json").read_text())
    assert judged["images"] == {"valid": 8, "train": 15, "test": 9}
    assert status_of(["evaluate", str(data), "--model", str(tmp_path / "run" / "artifact"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == judged["splits"]["test"]["accuracy"]
    for count, damaged in enumerate(("00", "02", "03"), start=1):  # one of each split
        (data / "red" / f"{damaged}.png").write_bytes(b"hello " * count)
        assert status_of(["train", str(data), "-o", str(tmp_path / "other"), *given]) == 2
        assert f"of 32 images {count} cannot be read" in capsys.readouterr().err
    assert not list((tmp_path / "other").glob("*.keras"))


def test_each_group_is_left_out_in_turn(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blind test of every group: each run judges the group it never saw, and the mean is written down."""
    out = tmp_path / "out"
    arguments = ["train", str(pictures), "-o", str(out), "--architecture", "small_cnn", "--by-group"]
    arguments += ["--groups", "camera0,camera1", "--epochs", "1", "--valid-fraction", "0.25"]
    assert status_of(arguments) == 0
    summary = json.loads((out / "by_group.json").read_text())
    assert {group: row["n"] for group, row in summary["groups"].items()} == {"camera0": 8, "camera1": 8}
    accuracies = [row["accuracy"] for row in summary["groups"].values()]
    assert summary["mean"]["accuracy"] == pytest.approx(sum(accuracies) / 2, abs=1e-4)
    with (out / "camera1" / "frame_predictions.csv").open() as lines:
        found = {(row["split"], row["video"]) for row in csv.DictReader(lines)}
    assert found == {("test", "camera1"), ("train", "camera0"), ("valid", "camera0")}
    assert "mean" in capsys.readouterr().out


def test_a_group_that_cannot_be_left_out_stops_no_other(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is noted, the mean is that of the others, and the exit status says that something is missing."""

    def run(experiment: Experiment, output: Path) -> dict[str, Any]:
        if experiment.leave_out == "camera1":
            raise DatasetError("no such luck")
        row = {"n": 8, "accuracy": 0.5, "mean_roc_auc": 0.5, "mean_average_precision": None}
        return {"splits": {"test": row}}

    monkeypatch.setattr(train, "_run", run)
    assert status_of(["train", str(pictures), "-o", str(tmp_path), "--by-group"]) == 2
    summary = json.loads((tmp_path / "by_group.json").read_text())
    assert set(summary["groups"]) == {"camera0", "camera2", "camera3"}
    assert summary["failed"] == {"camera1": "no such luck"}
    assert summary["mean"]["accuracy"] == 0.5
    assert "1 group could not be left out: camera1" in capsys.readouterr().err


def test_a_model_is_judged_on_the_images_that_its_run_kept_for_the_test(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though nobody says again how they were divided; and another division in the folder is refused."""
    run = tmp_path / "run"
    arguments = ["train", str(pictures), "-o", str(run), "--architecture", "small_cnn", "--epochs", "1"]
    arguments += ["--test", "--seed", "7", "--valid-fraction", "0.25"]
    assert status_of([*arguments, "--test-fraction", "0.5"]) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["data"] == {
        split: {"blue": n, "red": n} for split, n in (("valid", 4), ("train", 4), ("test", 8))
    }
    capsys.readouterr()
    for split in ("test", "valid"):
        evaluate = ["evaluate", str(pictures), "--model", str(run / "artifact"), "--split", split, "--json"]
        assert status_of(evaluate) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["confusion_matrix"] == results["splits"][split]["confusion_matrix"]
    assert status_of(["models", "show", str(run / "artifact"), "--json"]) == 0
    assert "division" not in json.loads(capsys.readouterr().out)["training"]
    assert status_of([*arguments, "--test-fraction", "0.25"]) == 2
    assert "another data" in capsys.readouterr().err


def test_images_that_were_trained_on_do_not_become_the_test(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the names of the test images, when the same command is given again to judge these."""
    data, run = tmp_path / "pictures", tmp_path / "run"
    shutil.copytree(pictures, data)
    arguments = ["train", str(data), "-o", str(run), "--architecture", "small_cnn", "--epochs", "1"]
    assert status_of(arguments) == 0
    record = (run / "artifact" / "training.json").read_text()
    trained_on, test = data / "red" / "00.png", data / "red" / "03.png"
    held = test.read_bytes()
    test.write_bytes(trained_on.read_bytes())
    trained_on.write_bytes(held)
    assert status_of([*arguments, "--test"]) == 2
    assert "have changed since; choose another folder" in capsys.readouterr().err
    assert (run / "artifact" / "training.json").read_text() == record


def test_a_grid_is_not_run_twice_at_once(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two grids, or one and what a killed one left behind, never write into the same runs."""
    with (grid / "out" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status_of(["train", "--grid", str(grid / "grid.toml"), "-o", str(grid / "out")]) == 2
    assert "works here already" in capsys.readouterr().err


def test_a_run_is_not_trained_twice_at_once(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each would take the other's epochs for its own."""
    with (tmp_path / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert status_of(["train", str(pictures), "-o", str(tmp_path), "--architecture", "small_cnn"]) == 2
    assert "another training works here already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_is_said_on_the_command_line_is_what_the_experiment_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are absolute, lists are taken apart, and what is not said, or empty, is left to a file."""
    begun: list[Experiment] = []
    monkeypatch.setattr(train, "_run", lambda experiment, output: begun.append(experiment) or {"stride": 1})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.toml").write_text('groups = ["a"]\ntest = true\nepochs = 3\n[options]\nunits = 8\n')
    arguments = ["train", "pictures", "-o", "out", "--experiment", "e.toml", "--groups", "", "--no-test"]
    arguments += ["--labels", "x, y", "--extra", "more", "--features", "kept", "--seed", "0"]
    assert status_of([*arguments, "--option", "dense=[1, 2]"]) == 0
    assert begun[0].parameters() == {
        "data": str(tmp_path / "pictures"),
        "options": {"units": 8, "dense": [1, 2]},
        "extra": [str(tmp_path / "more")],
        "labels": ["x", "y"],
        "groups": ["a"],
        "epochs": 3,
        "features": str(tmp_path / "kept"),
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--architecture", "small_cnn", "--stride", "3"], "judges single images; stride"),
        (["--architecture", "resnet50", "--features", "f"], "judges single images; features"),
        (["--architecture", "small_cnn", "--unfreeze", "conv5"], "is trained from scratch; unfreeze"),
        (["--weights", "none", "--imagenet-weights", "w"], "is trained from scratch; imagenet_weights"),
        (["--architecture", "lrcn", "--split-by", "group"], "labels.csv says all; split_by"),
        (["--architecture", "small_c3d", "--features", "f"], "is trained from scratch; features"),
        (["--architecture", "small_c3d", "--by-group"], "labels.csv says all; leave_out"),
    ],
)
def test_options_without_a_use_are_told(
    arguments: list[str], reason: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody believes to have tried what a network passes over."""
    assert status_of(["train", str(pictures), "-o", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert f"{reason} has no use" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("optimizer", "'sgd', 'adam' or 'adamw'"),
        ("schedule", "'constant' or 'cosine'"),
        ("augmentation", "'none', 'shifts', 'video', 'lecture' or 'clip'"),
        ("class_weights", "'none' or 'balanced'"),
        ("precision", "'float32' or 'bfloat16'"),
        ("split_by", "'image' or 'group'"),
    ],
)
def test_typing_mistakes_are_told_before_anything_is_done(
    option: str, known: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the names that there are, in a grid too, rather than minutes later or run by run."""
    out, file = tmp_path / "out", tmp_path / "grid.toml"
    file.write_text(f'data = "{pictures}"\n[grid]\n{option} = ["bogus"]\n')
    said = ["--" + option.replace("_", "-"), "bogus"]
    for arguments in (["train", str(pictures), *said], ["train", "--grid", str(file)]):
        assert status_of([*arguments, "-o", str(out)]) == 2
        assert f"{option} = 'bogus': input should be {known}" in capsys.readouterr().err
    assert not out.exists()


def test_mistakes_are_one_line_and_status_2(
    grid: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the arguments, a person reads one line that says what to do."""
    (tmp_path / "e.toml").write_text(f'data = "{pictures}"\nepohcs = 3\n')
    (tmp_path / "o.toml").write_text(f'data = "{pictures}"\noptions = 3\n')
    out, plain, a_grid = str(tmp_path / "out"), tmp_path / "plain", str(grid / "grid.toml")
    for arguments, hint in [
        (["train", "-o", out], "give DATA"),
        (["train", "-o", out, "--experiment", str(tmp_path / "e.toml")], "no parameter 'epohcs'"),
        (["train", "-o", out, "--experiment", str(tmp_path / "no.toml")], "cannot be read"),
        (["train", "-o", out, "--grid", str(tmp_path / "e.toml")], "no [grid]"),
        (["train", "-o", out, "--experiment", a_grid], "take it with --grid"),
        (["train", str(pictures), "-o", out, "--leave-out", "camera9"], "there are camera0"),
        (["train", str(pictures), "-o", out, "--valid-fraction", "1.5"], "valid_fraction = 1.5"),
        (["train", "-o", out, "--experiment", str(tmp_path / "o.toml"), "--option", "a=1"], "options = 3"),
        (["compare", str(grid / "out"), "-o", str(tmp_path / "e.toml" / "x")], "cannot write"),
        (["train", str(pictures), "-o", out, "--retry"], "--retry has no use without --grid"),
        (["train", str(pictures), "-o", out, "--by-group", "--leave-out", "camera1"], "has no use"),
        (["train", str(plain), "-o", str(plain / "run")], "would become a label"),
        (["train", str(plain), "--grid", a_grid, "-o", str(plain / "run")], "would become a label"),
        (["compare", str(tmp_path)], "no finished run"),
        (["compare", str(tmp_path / "nowhere")], "no such file or folder"),
    ]:
        assert status_of(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert hint in error
        assert len(error.strip().splitlines()) == 1


def test_an_interrupt_is_heard_whatever_tensorflow_makes_of_it() -> None:
    """Ctrl-C in a training could be lost, hang for ever, or end in a crash of TensorFlow's threads."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_PROGRAM], capture_output=True, text=True, timeout=30
    )
    assert (ended.returncode, ended.stderr) == (INTERRUPTED, "video-events: interrupted\n")
