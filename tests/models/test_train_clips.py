"""From videos to a stored clip model and into the service, with networks of a few weights."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from models import architectures
from models.architectures.clips import cut, encoder_of
from models.artifact import Artifact, load_artifact
from models.checkpoints import Progress
from models.clip_batches import PixelWindows
from models.datasets import read_image
from models.errors import DatasetError, ModelError, WeightsError
from models.evaluate_clips import windows_of
from models.experiments.execute_clips import train_and_report
from models.experiments.experiment import Experiment
from models.features import FrameFeatures, view_of_video
from models.preprocessing import Preprocessing
from models.sequences import load_frames, of_split, windows
from models.settings import TrainingSettings
from models.train_clips import ClipTraining
from service.cli import status_of
from service.config import RunSettings
from service.engines import Engine
from service.engines.stored import StoredModel, open_model
from service.errors import ConfigurationError
from service.pipeline import run
from service.sources import open_source
from service.windows import WindowedClassifier
from tests.service.fakes import ListSink

FRAMES = 4
LENGTH = 24
OPTIONS = {"base": "small", "frames": FRAMES, "units": 8, "dropout": 0.1}
SMALL = Preprocessing(height=24, width=24)


def frozen(name: str = "lrcn", **values) -> TrainingSettings:
    return replace(
        architectures.find(name).settings,
        architecture=name,
        options=OPTIONS,
        preprocessing=SMALL,
        head_views=2,
        head_epochs=12,
        head_learning_rate=0.01,
        patience=0,
        batch_size=16,
        **values,
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of noise; in the middle of each there is something bright."""
    root = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(8)
    rows = []
    for video, split in (("a", "train"), ("b", "train"), ("c", "valid"), ("d", "test")):
        (root / video).mkdir()
        for number in range(1, LENGTH + 1):
            image = rng.integers(20, 90, (36, 48, 3)).astype(np.uint8)
            is_there = 8 <= number < 17
            if is_there:
                image[8:28, 10:38] = (200, 220, 240)
            name = f"{video}-{number:03}.png"
            cv2.imwrite(str(root / video / name), image)
            rows.append([video, name, "seal" if is_there else "none", split])
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "frame", "label", "split"])
        writer.writerows(rows)
    return root


@pytest.fixture(scope="module")
def training(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipTraining:
    folder = tmp_path_factory.mktemp("run")
    return ClipTraining(load_frames(videos), folder, frozen(), initialise=lambda network: None, verbose=0)


@pytest.fixture(scope="module")
def results(training: ClipTraining, videos: Path) -> dict[str, Any]:
    experiment = Experiment(data=videos, name="seals", model_version="2", architecture="lrcn", test=True)
    return train_and_report(training, experiment)


@pytest.fixture(scope="module")
def artifact(training: ClipTraining, results: dict[str, Any]) -> Artifact:
    return load_artifact(training.folder / "artifact")


def test_damaged_features_are_computed_again(training: ClipTraining, videos: Path, tmp_path: Path) -> None:
    """A file that a full disk or a crash has cut off does not end a run."""
    frames = load_frames(videos)[:3]
    encode = cut(training.build(), SMALL).encode
    whole = FrameFeatures(encode, SMALL, tmp_path, verbose=0).of(frames)
    empty, cut_off, _ = sorted(tmp_path.glob("*/*.npy"))
    empty.write_bytes(b"")
    cut_off.write_bytes(cut_off.read_bytes()[:-5])
    again = FrameFeatures(encode, SMALL, tmp_path, verbose=0)
    np.testing.assert_allclose(again.of(frames), whole, atol=1e-6)
    assert again.passes == 2


def test_a_frozen_base_is_learned_on(
    training: ClipTraining, results: dict[str, Any], artifact: Artifact
) -> None:
    """Something as plain as brightness is found, and what came of the run is all there."""
    test = results["splits"]["test"]
    assert test["accuracy"] > 0.85
    assert test["n"] == LENGTH - FRAMES + 1
    assert test["flicker"]["truth"] == pytest.approx(100 * 2 / (LENGTH - FRAMES + 1), abs=0.01)
    assert artifact.labels == ("none", "seal")
    assert training.record()["windows"]["train"] == {"none": 2 * 12, "seal": 2 * 9}
    for name in ("results.json", "frame_predictions.csv", "report/report.html", "report/test/roc.png"):
        assert (training.folder / name).is_file(), name


def test_the_figures_of_a_run_are_those_of_the_stored_model(
    training: ClipTraining, results: dict[str, Any], artifact: Artifact
) -> None:
    """Its weights are rounded, and windows in doubt get another label. No frame is seen twice for it."""
    with (training.folder / "frame_predictions.csv").open() as lines:
        found = [float(row["p_seal"]) for row in csv.DictReader(lines) if row["split"] == "test"]
    judged = training.judge(artifact.build_network(), "test").evaluation(artifact.temperature)
    np.testing.assert_allclose(found, judged.probabilities[:, 1], atol=2e-6)
    assert len(list((training.folder / "features").iterdir())) == 1


def test_a_finished_run_is_not_repeated(
    training: ClipTraining, results: dict[str, Any], videos: Path
) -> None:
    """The same command again does nothing twice; with other settings it is refused."""
    log = (training.folder / "head_log.csv").read_bytes()
    ClipTraining(load_frames(videos), training.folder, frozen(), verbose=0).fit()
    assert (training.folder / "head_log.csv").read_bytes() == log
    with pytest.raises(ModelError, match="another seed"):
        ClipTraining(load_frames(videos), training.folder, frozen(seed=5), verbose=0).fit()


def test_frames_go_through_the_base_once(videos: Path, tmp_path: Path) -> None:
    """Features are kept for other heads; another base, size or view is told apart from them."""
    frames = load_frames(videos)[:6]

    def encoder(seed: int, preprocessing: Preprocessing = SMALL):
        keras.utils.set_random_seed(seed)
        network = architectures.find("lrcn").build(2, preprocessing, **OPTIONS)
        return cut(network, preprocessing).encode

    first = FrameFeatures(encoder(1), SMALL, tmp_path, verbose=0)
    rows = first.of(frames)
    assert (rows.shape, first.passes) == ((6, 64), 6)
    again = FrameFeatures(encoder(1), SMALL, tmp_path, verbose=0)
    assert np.array_equal(again.of(frames), rows)
    assert again.passes == 0
    expected = encoder(1).predict_on_batch(
        np.stack([SMALL.model_input(read_image(frame.path)) for frame in frames]).astype(np.float32)
    )
    np.testing.assert_allclose(rows, expected, atol=1e-3)
    again.of(frames, view=1)
    again.of(frames, view=1, seed=2)
    assert again.passes == 12
    larger = replace(SMALL, height=32)
    for other in (
        FrameFeatures(encoder(2), SMALL, tmp_path, verbose=0),
        FrameFeatures(encoder(1, larger), larger, tmp_path, verbose=0),
    ):
        other.of(frames)
        assert other.passes == 6


def test_views_change_a_video_alike() -> None:
    """A change from frame to frame would look like motion."""
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    one = view_of_video("a", 1, 1)
    assert np.array_equal(one(image), view_of_video("a", 1, 1)(image))
    assert not all(
        view_of_video(video, view, 1)(image).shape == one(image).shape
        and np.array_equal(view_of_video(video, view, 1)(image), one(image))
        for video, view in (("a", 2), ("b", 1))
    )


def film_of(videos: Path, tmp_path: Path) -> Path:
    """The test video as a file whose decoded frames are the very images."""
    path = tmp_path / "d.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10.0, (48, 36))
    assert writer.isOpened()
    for image in sorted((videos / "d").glob("*.png")):
        writer.write(read_image(image))
    writer.release()
    return path


def check_serving(artifact: Artifact, training: ClipTraining, videos: Path, tmp_path: Path) -> None:
    """What ``run`` says of each frame is what the evaluation says of the window that ends with it."""
    network = artifact.build_network()
    expected = training.judge(network, "test").evaluation(artifact.temperature).probabilities
    sink = ListSink()
    classifier = open_model(load_artifact(artifact.folder), Engine.AUTO, batch_size=3)
    with open_source(str(film_of(videos, tmp_path))) as source:
        run(source, "d", classifier, RunSettings(window=1, batch_size=3), [sink])
    found = np.stack([step.smoothed.probabilities for step in sink.steps if step.smoothed])
    first = training.options["frames"] - 1
    assert len(found) == LENGTH
    np.testing.assert_allclose(found[first:], expected, atol=0.02)


def test_the_stored_model_serves(
    training: ClipTraining, artifact: Artifact, videos: Path, tmp_path: Path
) -> None:
    """A clip model trained here runs through the pipeline, frame by frame, and agrees with its evaluation."""
    check_serving(artifact, training, videos, tmp_path)
    with pytest.raises(ConfigurationError, match="does not run yet"):
        open_model(artifact, Engine.OPENVINO, batch_size=1)
    assert StoredModel.find(str(artifact.folder), Engine.AUTO).engine is Engine.TENSORFLOW
    with pytest.raises(ConfigurationError, match="does not run yet"):
        StoredModel.find(str(artifact.folder), Engine.OPENVINO)


def test_batches_of_the_engine_change_nothing(artifact: Artifact) -> None:
    """A window's probabilities hang on its frames alone, also through smaller batches."""
    inputs = np.random.default_rng(2).integers(0, 256, (7, 24, 24, 3)).astype(np.uint8)
    whole = open_model(artifact, Engine.AUTO, batch_size=8).classify(inputs)
    bucketed = open_model(artifact, Engine.AUTO, batch_size=4, buckets=True)
    assert isinstance(bucketed, WindowedClassifier)
    parts = np.concatenate([bucketed.classify(inputs[:1]), bucketed.classify(inputs[1:])])
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [("small_c3d", {"filters": 4, "frames": 8}), ("c3d", {"width": 1 / 32, "dense": 8})],
)
def test_whole_networks_are_trained_resumed_and_served(
    name: str, options: dict[str, object], videos: Path, tmp_path: Path
) -> None:
    """A network that cannot be cut learns from pixels; an interrupted run goes on where it was, to the very
    weights of one that was not."""
    side = 32 if name == "c3d" else 24
    settings = replace(
        architectures.find(name).settings,
        options=options,
        preprocessing=replace(architectures.find(name).preprocessing, height=side, width=side),
        epochs=1,
    )
    frames, folder = load_frames(videos), tmp_path / "run"
    ClipTraining(frames, folder, settings, verbose=0).fit()
    (folder / "settings.json").unlink()
    training = ClipTraining(frames, folder, replace(settings, epochs=2), verbose=0)
    train_and_report(training, Experiment(data=videos, architecture=name))
    assert len((folder / "log.csv").read_text().splitlines()) == 3
    ClipTraining(frames, tmp_path / "whole", replace(settings, epochs=2), verbose=0).fit()
    lasts = [
        keras.models.load_model(run / Progress.read(run).last_file) for run in (folder, tmp_path / "whole")
    ]
    for one, other in zip(*(last.get_weights() for last in lasts), strict=True):
        np.testing.assert_array_equal(one, other)
    check_serving(load_artifact(folder / "artifact"), training, videos, tmp_path)


def test_a_frame_that_cannot_be_read_is_told_before_training(videos: Path, tmp_path: Path) -> None:
    """Where pixels are learned from, TensorFlow would wrap the reason in pages of its own."""
    data = shutil.copytree(videos, tmp_path / "videos")
    training = ClipTraining(
        load_frames(data), tmp_path / "run", architectures.find("small_c3d").settings, verbose=0
    )
    training.train[0].frames[0].path.write_bytes(b"hello")
    with pytest.raises(DatasetError, match=r"images 1 cannot be read: .*is not an image"):
        train_and_report(training, Experiment(data=data, architecture="small_c3d"))


def test_a_base_can_be_trained_too(videos: Path, tmp_path: Path) -> None:
    """After its head, an LRCN learns from the layer on that is named; those below stay."""
    settings = frozen(unfreeze="small_conv3", epochs=1, learning_rate=1e-3, weight_decay=0.0)
    training = ClipTraining(
        load_frames(videos), tmp_path, settings, initialise=lambda network: None, verbose=0
    )
    network = training.fit()
    before = keras.models.load_model(tmp_path / "head.keras", compile=False)
    changed = {
        one.path.partition("/")[0]
        for one, other in zip(encoder_of(before).weights, encoder_of(network).weights, strict=True)
        if not np.array_equal(np.asarray(one), np.asarray(other))
    }
    assert changed == {"small_conv3"}
    with pytest.raises(ModelError, match="no layer 'conv9'"):
        ClipTraining(
            load_frames(videos),
            tmp_path / "other",
            replace(settings, unfreeze="conv9"),
            verbose=0,
            initialise=lambda network: None,
        ).fit()
    assert not (tmp_path / "other" / "features").exists()


def test_a_base_can_be_trained_without_its_head_first(videos: Path, tmp_path: Path) -> None:
    """Then the head starts from random weights, on features that are standardised all the same."""
    settings = replace(frozen(unfreeze="base", epochs=1), head_epochs=0)
    training = ClipTraining(
        load_frames(videos), tmp_path, settings, initialise=lambda network: None, verbose=0
    )
    training.fit()
    assert not (tmp_path / "head_log.csv").exists()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_windows_are_shuffled_also_where_nothing_changes_them(videos: Path) -> None:
    """Neighbours in one batch are all of one label; every epoch has another order."""
    found = of_split(windows(load_frames(videos), FRAMES), "train")
    batches = PixelWindows(found, ("none", "seal"), SMALL, batch_size=8, shuffle=True)
    first = np.concatenate([batches[number][1] for number in range(len(batches))])
    batches.on_epoch_end()
    second = np.concatenate([batches[number][1] for number in range(len(batches))])
    assert first.sum(axis=0).tolist() == second.sum(axis=0).tolist()
    assert not np.array_equal(first, second)
    plain = PixelWindows(found, ("none", "seal"), SMALL, batch_size=8)
    assert [row.argmax() for row in plain[0][1]] == [window.label == "seal" for window in found[:8]]


def test_a_video_that_was_trained_on_does_not_judge(artifact: Artifact, videos: Path, tmp_path: Path) -> None:
    """Where its list has been divided anew since."""
    assert windows_of(artifact, videos, "test")
    moved = tmp_path / "videos"
    shutil.copytree(videos, moved)
    text = (moved / "labels.csv").read_text()
    (moved / "labels.csv").write_text(
        "\n".join(
            line.replace("train", "test") if line.startswith("a,") else line for line in text.split("\n")
        )
    )
    with pytest.raises(DatasetError, match="was trained on 21 of the 42 windows"):
        windows_of(artifact, moved, "test")


def test_mistakes_are_explained(videos: Path, tmp_path: Path) -> None:
    """Frame networks, windows longer than any video and missing weights are told before training."""
    frames = load_frames(videos)
    with pytest.raises(ModelError, match="judges single frames"):
        ClipTraining(frames, tmp_path, TrainingSettings(), verbose=0)
    long = replace(frozen(), options={**OPTIONS, "frames": 99})
    with pytest.raises(DatasetError, match=r"windows of 99 consecutive frames.*data split' gives whole"):
        ClipTraining(frames, tmp_path, long, verbose=0)
    with pytest.raises(DatasetError, match="two labels or more; found 'none' alone"):
        ClipTraining([replace(frame, label="none") for frame in frames], tmp_path, frozen(), verbose=0)
    with pytest.raises(WeightsError, match="no base"):
        ClipTraining(frames, tmp_path, frozen(), verbose=0).fit()
    with pytest.raises(ModelError, match="no augmentation 'vidoe' of clips; there are none, clip"):
        ClipTraining(frames, tmp_path, replace(frozen(), augmentation="vidoe"), verbose=0)
    training = ClipTraining(frames, tmp_path, frozen(), verbose=0)
    assert {window.split for window in of_split(training.windows, "valid")} == {"valid"}


def test_the_command_trains_clips(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One command for both kinds of networks; options that have no use are refused."""
    run = tmp_path / "run"
    common = ["train", str(videos), "-o", str(run), "--architecture", "lrcn"]
    options = ["--option", "base=small", "--option", "frames=4", "--option", "units=4"]
    size = ["--weights", "none", "--height", "24", "--width", "24", "--epochs", "1", "--test"]
    assert status_of([*common, *options, *size]) == 0
    told = capsys.readouterr().out
    assert "test: accuracy" in told
    assert f"on {LENGTH - FRAMES + 1} windows" in told
    assert f"of {LENGTH - FRAMES + 1} windows" in (run / "report" / "report.html").read_text()
    assert "changes of the label per 100 frames" in told
    assert load_artifact(run / "artifact").options["sequence"] == "lstm"
    assert status_of([*common, "--labels", "seal"]) == 2
    assert "learns from videos" in capsys.readouterr().err
    assert status_of(["evaluate", str(videos), "--model", str(run / "artifact"), "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    metrics = load_artifact(run / "artifact").record("metrics")["test"]["all"]
    assert judged["n"] == metrics["n"] == LENGTH - FRAMES + 1
    assert judged["accuracy"] == pytest.approx(metrics["accuracy"], abs=0.05)
    evaluate = ["evaluate", str(videos), "--model", str(run / "artifact"), "--split"]
    assert status_of([*evaluate, "valid"]) == 0
    assert f"on {LENGTH - FRAMES + 1} windows of valid" in capsys.readouterr().out
    assert status_of([*evaluate, "none"]) == 2
