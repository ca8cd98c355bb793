"""From a folder of images to a stored model and back, on a network of real depth and tiny images."""

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from models import architectures
from models.artifact import (
    CARD,
    WEIGHTS,
    Artifact,
    list_artifacts,
    load_artifact,
    save_artifact,
    with_features,
)
from models.charts import draw_learning_curves, read_history, save
from models.checkpoints import Progress, averaged_weights
from models.datasets import Sample, division_of, load_folder, of_labels, of_split
from models.errors import ArtifactError, DatasetError, DivergedError, ModelError, WeightsError
from models.evaluate import fit_temperature
from models.experiments.results import count_parameters
from models.experiments.samples import check_fed_alike, check_unseen
from models.export import background_offset, choose_views, export, judge, raise_label
from models.frozen import Features, fit_head
from models.imagenet import load_imagenet_weights, read_tensorflowjs
from models.optimizers import LayeredAdamW, make_head_optimizer
from models.preprocessing import Preprocessing
from models.presets import PRESETS, with_overrides
from models.report import write_report
from models.train import Training

SETTINGS = replace(
    PRESETS["video"],
    batch_size=16,
    train_size=32,
    preprocessing=Preprocessing(height=32, width=32),
    options={"dense": 8},
    head_epochs=3,
    epochs=1,
    refit_epochs=2,
    unfreeze="conv5",
)


@pytest.fixture(scope="module")
def run(
    color_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Training, object, list[Sample]]:
    """One small run from random weights, judged and exported."""
    samples = load_folder(color_folder)
    training = Training(
        samples, tmp_path_factory.mktemp("run"), SETTINGS, initialise=lambda model: None, verbose=0
    )
    return training, training.fit(), samples


@pytest.fixture(scope="module")
def artifact(run, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    training, network, samples = run
    preprocessing, accuracies = choose_views(
        network, training.labels, training.valid, SETTINGS.preprocessing, 2
    )
    judged = {
        split: judge(network, training.labels, of_split(samples, split), preprocessing)
        for split in ("valid", "test")
    }
    folder = tmp_path_factory.mktemp("artifacts") / "colors"
    stored = export(
        network,
        folder,
        name="colors",
        version="1",
        labels=training.labels,
        architecture="resnet50",
        options=training.options,
        preprocessing=preprocessing,
        training=training.record() | {"view_accuracy_on_valid": accuracies},
        **judged,
    )
    report = folder.parent / "report"
    write_report(report, judged["test"].evaluation(stored.temperature), judged["test"].samples)
    history = read_history([training.folder / "head_log.csv", training.folder / "log.csv"])
    save(draw_learning_curves(history), report / "curves.png")
    return stored


def test_both_stages_leave_their_logs_and_are_not_repeated(run) -> None:
    """A finished run that is started again does no epoch twice."""
    training, _, samples = run
    logs = [(training.folder / name).read_text() for name in ("head_log.csv", "log.csv")]
    assert [len(log.splitlines()) for log in logs] == [4, 2]
    Training(samples, training.folder, SETTINGS, initialise=lambda model: None, verbose=0).fit()
    assert [(training.folder / name).read_text() for name in ("head_log.csv", "log.csv")] == logs


def test_a_frozen_base_is_no_parameter_of_the_training(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is reported as trainable is what training could change; its patience is the head's."""
    asked = []

    def fit_patiently(*given: Any, **options: Any) -> None:
        asked.append(options["patience"])
        fit_head(*given, **options)

    monkeypatch.setattr("models.train.fit_head", fit_patiently)
    settings = replace(SETTINGS, head_epochs=1, unfreeze="", patience=3)
    training = Training(
        load_folder(color_folder), tmp_path, settings, initialise=lambda model: None, verbose=0
    )
    parameters = count_parameters(training.fit())
    assert parameters["trainable"] == 2048 * 8 + 8 + 8 * 3 + 3
    assert parameters["total"] == 23_587_712 + parameters["trainable"]
    assert asked == [3]


def test_refitting_changes_the_head_alone_and_only_once(run) -> None:
    """Stage three is about the head; what the stages below have learnt stays, bit by bit."""
    training, network, samples = run
    before = {weight.path: np.copy(weight.numpy()) for weight in network.weights}
    copied = keras.models.clone_model(network)
    copied.set_weights(network.get_weights())
    refitted = training.refit(copied, SETTINGS.preprocessing)
    changed = {
        weight.path.partition("/")[0]
        for weight in refitted.weights
        if not np.array_equal(before[weight.path], np.copy(weight.numpy()))
    }
    assert changed == {"head_dense", "head_logits"}
    log = training.folder / "refit_log.csv"
    assert len(log.read_text().splitlines()) == 1 + SETTINGS.refit_epochs
    log.unlink()
    again = Training(samples, training.folder, SETTINGS, initialise=lambda model: None, verbose=0)
    again.refit(network, SETTINGS.preprocessing)
    assert not log.exists()


def test_what_is_stored_may_learn_from_the_validation_images(run, color_folder: Path, tmp_path: Path) -> None:
    """All that is told by them is of a head that did not, the very one of a run that never does."""
    training, network, samples = run
    both = Training(
        samples, tmp_path, replace(SETTINGS, learn_valid=True), initialise=lambda model: None, verbose=0
    )

    def copied() -> Any:
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        return copy

    plain = training.refit(copied(), SETTINGS.preprocessing)
    assert training.last(plain) is plain
    judged = both.refit(copied(), SETTINGS.preprocessing)
    stored = both.last(judged)
    for one, other in zip(plain.get_weights(), judged.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    changed = {
        weight.path.partition("/")[0]
        for weight, other in zip(stored.weights, judged.weights, strict=True)
        if not np.array_equal(np.copy(weight.numpy()), np.copy(other.numpy()))
    }
    assert changed == {"head_dense", "head_logits"}


def test_a_background_that_is_taken_for_something_is_raised(run, tmp_path: Path) -> None:
    """By a bias in the network itself, with which it says what it was calibrated to say."""
    training, network, samples = run
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    labels = ("background", "green", "red")
    named = [replace(sample, label=sample.label.replace("blue", "background")) for sample in samples]
    judged = judge(copy, labels, named, SETTINGS.preprocessing)
    low = judged.raised("background", -2 - judged.logits[..., 0].max() + judged.logits.min())
    raise_label(copy, 0, float((low.logits - judged.logits)[0, 0, 0]))
    np.testing.assert_allclose(
        judge(copy, labels, named, SETTINGS.preprocessing).logits, low.logits, atol=1e-3
    )
    offset = background_offset(copy, low)
    assert offset > 1
    raised = low.raised("background", offset)
    assert raised.evaluation(fit_temperature(raised.pooled, raised.truth)).loss < (
        low.evaluation(fit_temperature(low.pooled, low.truth)).loss - 0.01
    )
    assert background_offset(network, judge(network, training.labels, samples, SETTINGS.preprocessing)) == 0


def test_the_head_learns_faster_than_the_base() -> None:
    """One step of Adam is as long as the rate, so the ratio of the steps is that of the rates."""
    model = architectures.build("resnet50", 3, Preprocessing(height=32, width=32), dense=4, dropout=0.0)
    before = {weight.path: np.copy(weight.numpy()) for weight in model.trainable_weights}
    model.compile(
        LayeredAdamW(1e-4, factor=7.0, weight_decay=0.0),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    model.train_on_batch(np.random.default_rng(1).uniform(0, 255, (4, 32, 32, 3)), np.eye(3)[[0, 1, 2, 0]])
    steps = {
        weight.path: float(np.abs(np.copy(weight.numpy()) - before[weight.path]).max())
        for weight in model.trainable_weights
    }
    assert steps["head_logits/bias"] == pytest.approx(7e-4, rel=0.05)
    assert steps["conv5_block3_3_conv/kernel"] == pytest.approx(1e-4, rel=0.05)


def test_the_average_of_the_weights_is_kept_and_survives_a_stop(color_folder: Path, tmp_path: Path) -> None:
    """``best`` holds the moving average, ``last`` the weights themselves, from which a run goes on."""
    samples = load_folder(color_folder)
    settings = with_overrides(
        architecture="small_cnn",
        epochs=2,
        weight_average=0.9,
        mix=0.5,
        inset=0.5,
        learning_rate=1e-3,
        batch_size=8,
    )
    for epochs in (1, 2):  # as if stopped after the first: the second sitting does one epoch more
        (tmp_path / "settings.json").unlink(missing_ok=True)
        Training(samples, tmp_path, replace(settings, epochs=epochs), verbose=0).fit()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    progress = Progress.read(tmp_path)
    last = last_network(tmp_path)
    assert int(last.optimizer.iterations) == 2 * -(-sum(s.split == "train" for s in samples) // 8)
    assert progress.best_epoch == 2
    with averaged_weights(last):
        averaged = last.get_weights()
    best = keras.models.load_model(tmp_path / progress.best_file, compile=False)
    for mean, kept in zip(averaged, best.get_weights(), strict=True):
        np.testing.assert_array_equal(mean, kept)
    assert any(not np.array_equal(mean, own) for mean, own in zip(averaged, last.get_weights(), strict=True))


def last_network(folder: Path):
    return keras.models.load_model(folder / Progress.read(folder).last_file)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(color_folder: Path, tmp_path: Path) -> None:
    """Bit by bit: the order of the images, their views, dropout and the optimizer go on where they were."""
    samples = load_folder(color_folder)
    settings = with_overrides(
        architecture="small_cnn",
        learning_rate=1e-3,
        batch_size=8,
        augmentation="video",
        options={"dropout": 0.5},
    )
    weights = {}
    for name, sittings in {"whole": [2], "stopped": [1, 2]}.items():
        for epochs in sittings:  # as if stopped after the first
            (tmp_path / name / "settings.json").unlink(missing_ok=True)
            Training(samples, tmp_path / name, replace(settings, epochs=epochs), verbose=0).fit()
        weights[name] = last_network(tmp_path / name).get_weights()
    for one, other in zip(weights["whole"], weights["stopped"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_refit_hangs_on_the_seed_alone(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many stages were done before it in the same sitting, and whatever dropout drew before."""
    drawn = []

    def fit(_training: Training, head: Any, *_: Any, **__: Any) -> None:
        states = [variable.numpy().tolist() for variable in head.variables if "seed" in variable.path]
        drawn.append((np.random.random(), *states, *(weight.sum() for weight in head.get_weights())))
        head.set_weights([weight + 1 for weight in head.get_weights()])

    def features(training: Training, base: Any, samples: list[Sample], *_: Any, **__: Any) -> Features:
        count = len(samples)
        return (
            np.zeros((count, base.output.shape[-1]), np.float32),
            np.zeros((count, len(training.labels)), np.float32),
        )

    monkeypatch.setattr(Training, "_fit_on_features", fit)
    monkeypatch.setattr(Training, "_features", features)
    for learn_valid in (False, True):
        settings = replace(SETTINGS, learn_valid=learn_valid)
        folder = tmp_path / str(learn_valid)
        training = Training(
            load_folder(color_folder), folder, settings, initialise=lambda model: None, verbose=0
        )
        keras.utils.set_random_seed(7)
        network = training.build()
        np.random.random(1 + learn_valid)
        training.refit(network, settings.preprocessing)
    assert len(drawn) == 3
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("staged", [True, False])
def test_layers_may_compute_in_bfloat16_while_they_are_trained(
    color_folder: Path, tmp_path: Path, staged: bool
) -> None:
    """A stopped run goes on in it, and what comes of it has the weights of the best epoch and computes in
    single precision."""
    samples = load_folder(color_folder)
    settings = (
        replace(SETTINGS, head_epochs=1)
        if staged
        else with_overrides(architecture="small_cnn", learning_rate=1e-3, batch_size=8)
    )
    for epochs in (1, 2):  # as if stopped after the first
        (tmp_path / "settings.json").unlink(missing_ok=True)
        halved = replace(settings, precision="bfloat16", epochs=epochs)
        network = Training(samples, tmp_path, halved, initialise=lambda model: None, verbose=0).fit()
    policies = {layer.dtype_policy.name for layer in last_network(tmp_path).layers}
    assert policies == {"mixed_bfloat16", "float32"}  # the latter of the logits
    assert {layer.compute_dtype for layer in network._flatten_layers()} == {"float32"}
    best = keras.models.load_model(tmp_path / Progress.read(tmp_path).best_file, compile=False)
    assert count_parameters(network) == count_parameters(best)
    for weight, kept in zip(network.get_weights(), best.get_weights(), strict=True):
        assert weight.dtype == np.float32
        np.testing.assert_array_equal(weight, kept)
    assert keras.config.dtype_policy().name == "float32"


def test_the_time_of_a_sitting_that_was_interrupted_counts(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped on the way has taken as long as all of its sittings."""

    def interrupted(*_: object) -> None:
        time.sleep(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_fit_epochs", interrupted)
    settings = with_overrides(architecture="small_cnn")
    for sittings in (1, 2):
        training = Training(load_folder(color_folder), tmp_path, settings, verbose=0)
        with pytest.raises(KeyboardInterrupt):
            training.fit()
        assert training.record()["seconds"] >= 0.2 * sittings


def test_only_batches_of_images_are_mixed() -> None:
    """Pairs of distances and windows of frames would mean something else."""
    for architecture in ("siamese", "lrcn"):
        with pytest.raises(ModelError, match="mix is for networks that classify single images"):
            with_overrides(architecture=architecture, mix=0.5)
        with pytest.raises(ModelError, match="inset is for networks that classify single images"):
            with_overrides(architecture=architecture, inset=0.5)
        with pytest.raises(ModelError, match="views is for networks that classify single images"):
            with_overrides(architecture=architecture, views=2)


def test_a_run_does_not_go_on_with_other_settings(run) -> None:
    """Results never stem from a mixture of settings."""
    training, _, samples = run
    with pytest.raises(ModelError, match="another learning_rate"):
        Training(samples, training.folder, replace(SETTINGS, learning_rate=1.0), verbose=0).fit()


def test_stored_model_gives_the_probabilities_of_the_trained_one(run, artifact: Artifact) -> None:
    """Half precision of the weights costs less than a hundredth of probability, and rows sum to one."""
    training, network, samples = run
    images = judge(network, training.labels, of_split(samples, "test"), artifact.preprocessing)
    expected = images.evaluation(artifact.temperature).probabilities
    model = artifact.build()
    from models.datasets import read_image

    pictures = [read_image(sample.path) for sample in images.samples]
    seen = [
        np.stack([artifact.preprocessing.model_input(each, view) for each in pictures]) for view in range(2)
    ]
    found = np.mean([np.asarray(model.predict_on_batch(each.astype(np.float32))) for each in seen], axis=0)
    np.testing.assert_allclose(found, expected, atol=0.01)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_artifact_tells_how_it_came_about(artifact: Artifact) -> None:
    """A model card without its figures, data and settings could not be trusted."""
    metrics, training = artifact.record("metrics"), artifact.record("training")
    assert metrics["test"]["all"]["n"] == 12
    assert training["settings"]["seed"] == SETTINGS.seed
    assert training["images"]["train"] == {"blue": 14, "green": 14, "red": 14}
    accuracies = training["view_accuracy_on_valid"]
    assert len(accuracies) == 9
    assert "squeeze + crop mirrored" in accuracies
    chosen = " + ".join(map(str, artifact.preprocessing.views))
    assert accuracies[chosen] == max(accuracies.values())


def test_report_is_complete(artifact: Artifact) -> None:
    """Everything that a person wants to see of a training lies in the report folder."""
    names = {path.name for path in (artifact.folder.parent / "report").iterdir()}
    assert names >= {
        "per_label.csv",
        "confusion_matrix.png",
        "roc.png",
        "precision_recall.png",
        "wrong.csv",
        "curves.png",
    }


@pytest.mark.parametrize("file", [WEIGHTS, "metrics.json"])
def test_damage_is_noticed(artifact: Artifact, tmp_path: Path, file: str) -> None:
    """One changed byte in any file of a model stops it from being loaded."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in artifact.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    data = bytearray((copy / file).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / file).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{file} is damaged"):
        load_artifact(copy)
    (copy / file).unlink()
    with pytest.raises(ArtifactError, match=f"{file} is missing"):
        load_artifact(copy)


@pytest.fixture
def small(tmp_path: Path) -> Artifact:
    """A stored network of random weights."""
    architecture = architectures.find("small_cnn")
    return save_artifact(
        tmp_path / "small",
        architecture.build(3),
        name="small",
        version="1",
        architecture="small_cnn",
        options=architecture.options,
        labels=("blue", "green", "red"),
        preprocessing=architecture.preprocessing,
        temperature=1.0,
        records={},
    )


@pytest.mark.parametrize("name", ["my modèle +", "team/colors"])
def test_any_name_can_be_served(small: Artifact, name: str) -> None:
    """TensorFlow makes name scopes of the names of networks, and takes few signs in them."""
    model = with_features(replace(small, name=name).build())
    probabilities, _ = model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))
    assert probabilities.shape == (1, 3)


@pytest.mark.parametrize("card", ["", "{}", '{"format": 99}', "[]"])
def test_bad_cards_are_explained(tmp_path: Path, card: str) -> None:
    """A file that is not a model card of this format gives a clear error."""
    (tmp_path / CARD).write_text(card)
    with pytest.raises(ArtifactError, match=CARD):
        load_artifact(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"labels": "abc"}, "labels"),
        ({"labels": [1, 2, 3]}, "labels"),
        ({"labels": ["", "green", "red"]}, "labels"),
        ({"labels": ["red", "green", "red"]}, "labels"),
        ({"architecture": {"name": "resnet50", "options": [1]}}, "options"),
        ({"preprocessing": {**Preprocessing().to_dict(), "height": "32"}}, "height"),
        ({"preprocessing": {**Preprocessing().to_dict(), "scale": None}}, "scale"),
        ({"files": {}}, WEIGHTS),
        ({"files": {WEIGHTS: "0", "../training.json": "0"}}, "files"),
        ({"files": {WEIGHTS: "0", "/etc/hostname": "0"}}, "files"),
        ({"files": {WEIGHTS: "0", "openvino/../../x": "0"}}, "files"),
    ],
)
def test_edited_cards_are_refused(small: Artifact, change: dict, what: str) -> None:
    """Rather than served with probabilities upside down, or copied out of their folder."""
    (small.folder / CARD).write_text(json.dumps(small.card() | change))
    with pytest.raises(ArtifactError, match=f"is not a model card: .*{what}"):
        load_artifact(small.folder)


def test_weights_that_end_too_soon_are_explained(small: Artifact) -> None:
    """Even where their checksum is right."""
    weights = small.folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=f"{WEIGHTS} cannot be read"):
        small.build()


def test_unknown_models_are_told_with_those_there_are() -> None:
    """A typing mistake in a model's name is answered with the names that exist."""
    with pytest.raises(ArtifactError, match="no model 'sprots'"):
        load_artifact("sprots")
    assert list_artifacts() == sorted(list_artifacts())


def test_a_folder_that_cannot_be_looked_into_holds_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of another user: a model that ships is found from there, and any other is told in a line."""
    looked = Path.is_file

    def refused(path: Path) -> bool:
        if path.parts[0] in ("sports", "closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return looked(path)

    monkeypatch.setattr(Path, "is_file", refused)
    assert load_artifact("sports").name == "sports"
    with pytest.raises(ArtifactError, match=r"no model 'closed/mine'.* that you may read"):
        load_artifact("closed/mine")


def test_a_run_is_not_its_model(tmp_path: Path) -> None:
    """Whoever names the folder of a run instead is told which folder is meant."""
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / CARD).touch()
    with pytest.raises(ArtifactError, match=f"such as {tmp_path / 'artifact'}"):
        load_artifact(tmp_path)


def test_mistakes_in_settings_are_explained(color_folder: Path, tmp_path: Path) -> None:
    """Unknown presets, stages and architectures name what there is."""
    with pytest.raises(ModelError, match="there are video, lecture"):
        with_overrides("radio")
    with pytest.raises(ModelError, match="resnet50"):
        architectures.build("resnet51", 3)
    with pytest.raises(DatasetError, match=r"splits train and valid; found .*--valid-fraction takes a share"):
        Training(
            [sample for sample in load_folder(color_folder) if sample.split == "train"], tmp_path, SETTINGS
        )
    with pytest.raises(DatasetError, match="two labels or more; found 'red' alone"):
        Training(of_labels(load_folder(color_folder), ["red"]), tmp_path, SETTINGS)
    odd = [replace(one, label=one.label.replace("e", "\udce9")) for one in load_folder(color_folder)]
    with pytest.raises(DatasetError, match=r"'blu\\udce9', which is not UTF-8; rename its folder"):
        Training(odd, tmp_path, SETTINGS)


def test_what_is_said_of_the_training_is_the_heads_on_a_frozen_base() -> None:
    """Rather than of no effect; what a head cannot have is refused."""
    asked = {"optimizer": "sgd", "learning_rate": 0.5, "epochs": 3}
    settings = with_overrides(architecture="lrcn", **asked)
    assert (settings.head_optimizer, settings.head_learning_rate, settings.head_epochs) == ("sgd", 0.5, 3)
    assert (settings.epochs, settings.optimizer) == (0, "adamw")
    assert with_overrides(architecture="lrcn", head_learning_rate=0.1, **asked).head_learning_rate == 0.1
    thawed = with_overrides(architecture="lrcn", unfreeze="base", **asked)
    assert (thawed.optimizer, thawed.learning_rate, thawed.epochs) == ("sgd", 0.5, 3)
    for useless in ({"schedule": "cosine"}, {"weight_average": 0.9}, {"mix": 0.5}, {"inset": 0.3}):
        with pytest.raises(ModelError, match="of no use while the base stays frozen"):
            with_overrides(unfreeze="", **useless)
    for none in ({"architecture": "small_cnn", "epochs": 0}, {"architecture": "lrcn", "head_epochs": 0}):
        with pytest.raises(ModelError, match="learns nothing"):
            with_overrides(**none)
    assert with_overrides(architecture="lrcn", head_epochs=0, unfreeze="base", epochs=2).head_epochs == 0


@pytest.mark.parametrize(
    ("architecture", "given", "reason"),
    [
        ("lrcn", {"unfreeze": "base"}, "unfreeze: of no use without stage two; say --epochs"),
        ("lrcn", {"unfreeze": "base", "epochs": 0}, "unfreeze: of no use without stage two"),
        ("resnet50", {"epochs": 0, "learning_rate": 1e-3, "mix": 0.5}, "learning_rate, mix: of no use"),
        ("resnet50", {"unfreeze": "conv9"}, "no stage 'conv9' to unfreeze; there are "),
        ("vgg16", {"unfreeze": "conv5", "epochs": 3}, "no stage 'conv5' to unfreeze; there are "),
    ],
)
def test_a_second_stage_that_there_is_not_is_told(architecture: str, given: dict, reason: str) -> None:
    """Rather than the head trained alone, and without a word, or only once that is done."""
    with pytest.raises(ModelError, match=reason):
        with_overrides(architecture=architecture, **given)


class Head:
    """Comes to ``losses``, one an epoch."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses
        self.epochs = 0

    def compile(self, **_: object) -> None: ...

    def load_weights(self, path: Path) -> None: ...

    def fit(self, *_: object, **__: object) -> SimpleNamespace:
        self.epochs += 1
        return SimpleNamespace(history={"val_loss": [self.losses[self.epochs - 1]]})


def test_the_epochs_of_a_head_are_counted_in_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is fitted by itself, but none is the last of all before the last."""
    inputs = keras.Input((2,))
    head, few = keras.Model(inputs, keras.layers.Dense(2)(inputs)), np.eye(2, dtype=np.float32)
    fit_head(
        head,
        [(few, few)],
        (few, few),
        epochs=2,
        optimizer="sgd",
        batch_size=2,
        class_weight=None,
        folder=tmp_path,
        name="head",
        verbose=2,
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [([3.0, 1.0, 2.0, 2.0, 0.5], 2, 4), ([3.0, 1.0, 2.0, 2.0, 0.5], 0, 5), ([3.0, np.nan, 0.5], 0, 2)],
)
def test_a_head_is_fitted_while_it_gets_better(
    losses: list[float], patience: int, epochs: int, tmp_path: Path
) -> None:
    """At the latest for all of its epochs; a loss that is no number would stay none."""
    head, nothing = Head(losses), np.zeros((1, 1), np.float32)
    fit_head(
        head,
        [(nothing, nothing)],
        (nothing, nothing),
        epochs=len(losses),
        optimizer="sgd",
        batch_size=1,
        class_weight=None,
        folder=tmp_path,
        name="head",
        patience=patience,
    )
    assert head.epochs == epochs


@pytest.mark.parametrize(
    ("architecture", "given"),
    [
        ("triplet", {"weight_average": 0.99}),
        ("siamese", {"class_weights": "balanced"}),
        ("siamese", {"label_smoothing": 0.1}),
        ("small_cnn", {"head_epochs": 3}),
        ("small_cnn", {"head_learning_rate": 0.1}),
        ("small_cnn", {"weight_decay": 0.1}),
        ("small_c3d", {"refit_epochs": 2}),
        ("small_c3d", {"learn_valid": True}),
        ("small_cnn", {"learn_valid": True}),
        ("resnet50", {"weight_decay": 0.1, "optimizer": "adam", "unfreeze": "", "refit_epochs": 0}),
    ],
)
def test_what_has_no_use_is_refused(architecture: str, given: dict) -> None:
    """Rather than taken without a word; to say that it is off is all right."""
    with pytest.raises(ModelError, match=f"{next(iter(given))}: of no use"):
        with_overrides(architecture=architecture, **given)
    off = {name: "none" if name == "class_weights" else 0 for name in given if name != "optimizer"}
    with_overrides(architecture=architecture, **off)


def test_what_has_a_use_after_all_is_taken() -> None:
    """The last fit of the head is by AdamW, and knows of labels, whatever was trained before."""
    assert with_overrides(architecture="small_cnn", weight_decay=0.1, optimizer="adamw").weight_decay == 0.1
    assert with_overrides(architecture="small_cnn", weight_decay=0.1, refit_epochs=3).weight_decay == 0.1
    assert with_overrides(architecture="siamese", class_weights="balanced", refit_epochs=3).refit_epochs == 3
    assert with_overrides(weight_decay=0.1, optimizer="adam").weight_decay == 0.1
    assert with_overrides(architecture="lrcn", patience=3, weight_decay=0.1).patience == 3


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_head_follows_the_optimizer_that_is_asked_for(name: str) -> None:
    """And no other."""
    assert type(make_head_optimizer(replace(SETTINGS, head_optimizer=name))).__name__.lower() == name


def test_a_diverged_training_stores_no_model(color_folder: Path, tmp_path: Path) -> None:
    """It ends after one epoch and says what to do."""
    settings = with_overrides(
        architecture="small_cnn",
        optimizer="sgd",
        learning_rate=1e38,
        epochs=4,
        height=32,
        width=32,
        options={"dense": 8},
    )
    with pytest.raises(DivergedError, match="lower learning rate"):
        Training(load_folder(color_folder), tmp_path, settings, verbose=0).fit()
    assert not list(tmp_path.glob("best*.keras"))
    assert Progress.read(tmp_path).epoch == 1


def test_weights_go_on_with_unseen_images_fed_alike_alone(
    artifact: Artifact, color_folder: Path, tmp_path: Path
) -> None:
    """Or the test would be of images that the weights have learned, or of swapped colours."""
    samples = load_folder(color_folder)
    check_fed_alike(artifact, SETTINGS.preprocessing)
    with pytest.raises(ModelError, match="channels bgr, this run rgb"):
        check_fed_alike(artifact, PRESETS["lecture"].preprocessing)
    seen = replace(artifact, folder=tmp_path)
    (tmp_path / "training.json").write_text(json.dumps({"division": division_of(samples)}))
    check_unseen(seen, samples)
    with pytest.raises(ModelError, match=r"was trained on \d+ images now to validate or test"):
        check_unseen(seen, load_folder(color_folder, seed=9))
    valid = of_split(samples, "valid")
    record = {"division": division_of(samples), "settings": {"learn_valid": True}}
    (tmp_path / "training.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match=f"was trained on {len(valid)} images now to validate or test"):
        check_unseen(seen, samples)


def test_tensorflowjs_weights_find_their_layers(tmp_path: Path) -> None:
    """Old layer names are translated, and an incomplete set is refused instead of half used."""
    kernel = np.arange(7 * 7 * 3 * 64, dtype=np.float32).reshape(7, 7, 3, 64)
    gamma = np.full(256, 2, np.float32)
    specs = [
        {"name": "conv1/kernel", "shape": list(kernel.shape), "dtype": "float32"},
        {"name": "bn2a_branch1/gamma", "shape": [256], "dtype": "float32"},
    ]
    data = kernel.tobytes() + gamma.tobytes()
    (tmp_path / "a.bin").write_bytes(data[:1000])
    (tmp_path / "b.bin").write_bytes(data[1000:])
    manifest = [{"paths": ["a.bin", "b.bin"], "weights": specs}]
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    arrays = read_tensorflowjs(tmp_path)
    np.testing.assert_array_equal(arrays["conv1_conv/kernel"], kernel)
    np.testing.assert_array_equal(arrays["conv2_block1_0_bn/gamma"], gamma)
    with pytest.raises(WeightsError, match="2 of 318"):
        load_imagenet_weights(architectures.build("resnet50", 2), tmp_path)
    with pytest.raises(WeightsError, match="no TensorFlow"):
        read_tensorflowjs(tmp_path / "nowhere")
