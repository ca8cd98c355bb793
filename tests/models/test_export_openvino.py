"""A small network is exported for OpenVINO in both precisions, served, and compared with its reference."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import architectures
from models.artifact import (
    CARD,
    WEIGHTS,
    Artifact,
    add_files,
    list_artifacts,
    load_artifact,
    save_artifact,
)
from models.datasets import load_folder, of_split, read_image
from models.errors import ArtifactError, DatasetError
from models.evaluate import Evaluation
from models.openvino import calibration_inputs, compare, copy_model, quantize
from models.openvino_library import openvino
from models.precision import Precision
from service import engines
from service.cli import status_of
from service.engines import Engine, choose_engine, open_engine
from service.engines.devices import cores, has_gpu
from service.engines.keras import KerasClassifier
from service.engines.openvino import OpenvinoClassifier, precision_of
from service.errors import ConfigurationError
from service.types import Embedder, Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The stored model as training leaves it: without a network for OpenVINO."""
    import keras

    samples = load_folder(color_folder)
    train = of_split(samples, "train")
    labels = tuple(sorted({sample.label for sample in samples}))
    preprocessing = architectures.find("small_cnn").preprocessing
    images = np.stack([preprocessing.model_input(read_image(sample.path)) for sample in train])
    truth = np.array([labels.index(sample.label) for sample in train])
    keras.utils.set_random_seed(1)
    network = architectures.build("small_cnn", len(labels), dense=16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.Adam(0.003), loss=loss)
    network.fit(images.astype(np.float32), truth, batch_size=14, epochs=10, verbose=0)
    return save_artifact(
        tmp_path_factory.mktemp("models") / "reference",
        network,
        name="colors",
        version="1",
        architecture="small_cnn",
        options={"dense": 16},
        labels=labels,
        preprocessing=preprocessing,
        temperature=0.9,
        records={
            "training": {"groups": {}, "seconds": 5, "settings": {"preset": "test"}, "backend": "tensorflow"},
            "metrics": {},
        },
    )


@pytest.fixture(scope="module")
def int8(reference: Artifact, color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A copy that the command has exported in 8 bits."""
    folder = tmp_path_factory.mktemp("models") / "int8"
    arguments = ["--data", str(color_folder), "--images", "30", "-o", str(folder)]
    assert status_of(["export", str(reference.folder), *arguments]) == 0
    return load_artifact(folder)


@pytest.fixture(scope="module")
def fp32(reference: Artifact, color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A copy that the command has exported in single precision."""
    folder = tmp_path_factory.mktemp("models") / "fp32"
    arguments = ["--data", str(color_folder), "--precision", "fp32", "-o", str(folder)]
    assert status_of(["export", str(reference.folder), *arguments]) == 0
    return load_artifact(folder)


@pytest.fixture(scope="module")
def inputs(reference: Artifact, color_folder: Path) -> Image:
    """Model inputs of the images that the network was not trained on."""
    test = of_split(load_folder(color_folder), "test")
    return np.stack([reference.preprocessing.model_input(read_image(sample.path)) for sample in test])


def test_single_precision_agrees(fp32: Artifact, inputs: Image) -> None:
    """The network in OpenVINO's form computes what the reference computes, features included."""
    expected, expected_features = KerasClassifier(fp32).embed(inputs)
    classifier: Embedder = open_engine(fp32, Engine.OPENVINO)
    probabilities, features = classifier.embed(inputs)
    assert classifier.labels == fp32.labels
    assert np.abs(probabilities - expected).max() <= 1e-3
    assert np.allclose(features, expected_features, rtol=1e-3, atol=1e-4)
    assert fp32.record("export")["fp32"]["valid"]["largest_probability_difference"] <= 1e-3


def test_8_bits_agree(int8: Artifact, inputs: Image) -> None:
    """Quantization changes probabilities a little and labels hardly ever; it is 8 bits that serve."""
    expected, _ = KerasClassifier(int8).embed(inputs)
    probabilities, features = OpenvinoClassifier(int8).embed(inputs)
    assert np.mean(probabilities.argmax(1) == expected.argmax(1)) >= 0.95
    assert 0 < np.abs(probabilities - expected).max() < 0.2
    assert features.shape == (len(inputs), 16)
    types = int8.openvino_network.read_text() if int8.openvino_network else ""
    assert 'element_type="i8"' in types
    figures = int8.record("export")["int8"]
    assert figures["calibration"] == {"images": 30, "seed": 1}
    assert figures["valid"]["images"] == 6
    assert figures["valid"]["top1_agreement"] >= 0.8


def test_terms_of_sums_are_not_rounded() -> None:
    """In a residual block only what a convolution takes is in 8 bits: less is lost, and nothing is slower."""
    from openvino import opset13

    rng = np.random.default_rng(1)

    def convolved(of: Any) -> Any:
        weights = opset13.constant(rng.normal(0, 0.3, (8, of.shape[1], 3, 3)).astype(np.float32))
        return opset13.convolution(of, weights, [1, 1], [1, 1], [1, 1], [1, 1])

    image = opset13.parameter([1, 3, 16, 16], np.float32, name="image")
    first = opset13.relu(
        opset13.add(convolved(image), convolved(image))
    )  # the sum that ends the first layers
    block = opset13.add(convolved(opset13.relu(convolved(first))), first)
    features = opset13.reduce_mean(opset13.relu(block), opset13.constant([2, 3]))
    probabilities = opset13.softmax(features, 1)
    network = openvino.Model([features, probabilities], [image], "block")
    for output, name in zip(network.outputs, ("features", "probabilities"), strict=True):
        output.get_tensor().set_names({name})
    inputs = rng.integers(0, 256, (20, 3, 16, 16)).astype(np.float32)
    quantized = quantize(network, inputs)
    takers = [
        {each.get_node().get_type_name() for each in node.output(0).get_target_inputs()}
        for node in quantized.get_ordered_ops()
        if node.get_type_name() == "FakeQuantize"
    ]
    assert takers
    assert {"Add"} not in takers


@pytest.mark.parametrize(("capabilities", "hint"), [(["FP32", "INT8"], "f32"), (["BF16", "INT8"], "bf16")])
def test_bfloat16_is_for_networks_in_8_bits(
    int8: Artifact, fp32: Artifact, capabilities: list[str], hint: str
) -> None:
    """Where the processor has it; single precision is never given up."""

    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return capabilities

    networks = [openvino.Core().read_model(one.openvino_network) for one in (int8, fp32)]
    assert [precision_of(network, Core()) for network in networks] == [hint, "f32"]


def test_company_does_not_matter(int8: Artifact, inputs: Image) -> None:
    """A frame's probabilities are the same to the bit whichever frames are in its batch, and each time."""
    classifier = OpenvinoClassifier(int8, batch_size=4)
    together = classifier.classify(inputs)
    alone = np.concatenate([classifier.classify(one[None]) for one in inputs])
    backwards = classifier.classify(inputs[::-1])[::-1]
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)
    assert np.array_equal(together, classifier.embed(inputs)[0])
    assert classifier.classify(inputs[:0]).shape == (0, 3)
    with ThreadPoolExecutor(classifier.lanes) as lanes:
        side_by_side = np.concatenate(list(lanes.map(classifier.classify, [one[None] for one in inputs])))
    assert np.array_equal(together, side_by_side)
    orders = [np.roll(np.arange(len(inputs)), shift) for shift in range(8)]
    with ThreadPoolExecutor(4) as threads:  # more than there are batches at once: the others wait
        batches = threads.map(classifier.classify, [inputs[order] for order in orders])
        for order, batch in zip(orders, batches, strict=True):
            assert np.array_equal(together[order], batch)


def test_the_reference_stays_as_it_was(reference: Artifact, int8: Artifact) -> None:
    """Exporting changes neither the weights nor what the card says, and leaves the model it copies alone."""
    before, after = reference.card(), int8.card()
    assert {**after, "files": None} == {**before, "files": None}
    assert {name: after["files"][name] for name in before["files"]} == before["files"]
    assert (int8.folder / WEIGHTS).read_bytes() == (reference.folder / WEIGHTS).read_bytes()
    assert int8.precisions == (Precision.INT8,)
    assert load_artifact(reference.folder).openvino_network is None


def test_the_reference_is_in_single_precision(
    reference: Artifact, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a machine with a GPU, where the engine would compute in half."""
    asked = []

    def recorded(artifact: Artifact, **options: Any) -> KerasClassifier:
        asked.append(options["accelerated"])
        return KerasClassifier(artifact, **options)

    monkeypatch.setattr("service.engines.keras.KerasClassifier", recorded)
    arguments = ["--data", str(color_folder), "--precision", "fp32", "-o", str(tmp_path / "copy")]
    assert status_of(["export", str(reference.folder), *arguments]) == 0
    assert asked == [False]


def test_again_and_in_place(
    int8: Artifact, color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same export gives the same weights again; both precisions fit in a model, and 8 bits serve."""
    copy = copy_model(int8, tmp_path / "copy")
    assert copy.precisions == ()
    arguments = ["export", str(copy.folder), "--data", str(color_folder), "--images", "30"]
    assert status_of(arguments) == 0
    assert "same label on" in capsys.readouterr().out
    assert status_of([*arguments, "--precision", "fp32"]) == 0
    both = load_artifact(copy.folder)
    assert both.precisions == (Precision.INT8, Precision.FP32)
    assert both.openvino_network == copy.folder / "openvino" / "int8.xml"
    assert set(both.record("export")) == {"int8", "fp32"}
    weights = Precision.INT8.files[1]
    assert both.files[weights] == int8.files[weights]


def test_a_model_that_is_stored_again(int8: Artifact, tmp_path: Path) -> None:
    """The same network keeps what is whole of its export; another one, or another temperature, has none."""
    folder = tmp_path / "model"
    shutil.copytree(int8.folder, folder)

    def store(**other: Any) -> Artifact:
        known = {
            name: getattr(int8, name) for name in ("name", "version", "architecture", "options", "labels")
        }
        calibrated = {"preprocessing": int8.preprocessing, "temperature": int8.temperature}
        records = {"training": int8.record("training"), "metrics": {"test": {}}}
        return save_artifact(folder, network, **{**known, **calibrated, "records": records, **other})

    network = int8.build_network()
    again = store()
    assert (again.precisions, again.record("metrics")) == ((Precision.INT8,), {"test": {}})
    assert {file: again.files[file] for file in Precision.INT8.files} == {
        file: int8.files[file] for file in Precision.INT8.files
    }
    (folder / Precision.INT8.files[1]).write_bytes(b"damaged")
    assert store().precisions == ()
    shutil.rmtree(folder)
    shutil.copytree(int8.folder, folder)
    assert store(temperature=0.5).precisions == ()
    shutil.rmtree(folder)
    shutil.copytree(int8.folder, folder)
    network.layers[-1].set_weights([weight + 1 for weight in network.layers[-1].get_weights()])
    assert store().precisions == ()


def test_an_export_that_fails(
    int8: Artifact, reference: Artifact, color_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    """What cannot work is told in a line before the model is touched; a network that serves stays whole."""
    before = {path: path.read_bytes() for path in int8.folder.rglob("*") if path.is_file()}
    assert status_of(["export", str(int8.folder), "--data", str(tmp_path)]) == 2
    (tmp_path / "splits.csv").write_text("path,label,split\n")
    assert status_of(["export", str(int8.folder), "--data", str(tmp_path)]) == 2
    assert before == {path: path.read_bytes() for path in int8.folder.rglob("*") if path.is_file()}
    (tmp_path / "file").touch()
    arguments = ["export", str(reference.folder), "--data", str(color_folder), "-o"]
    assert status_of([*arguments, str(tmp_path / "file")]) == 2
    other = copy_model(reference, tmp_path / "other")
    (other.folder / WEIGHTS).write_bytes(b"other weights")
    add_files(other, [WEIGHTS])
    assert status_of([*arguments, str(other.folder)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    assert "holds another model" in errors[-1]


def test_damage_is_found(int8: Artifact, tmp_path: Path) -> None:
    """An exported network that differs from its checksum is not run."""
    copy = tmp_path / "copy"
    (copy / "openvino").mkdir(parents=True)
    for file in [CARD, *int8.files]:
        (copy / file).write_bytes((int8.folder / file).read_bytes())
    assert load_artifact(copy).precisions
    with (copy / Precision.INT8.files[1]).open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(ArtifactError, match=r"int8\.bin is damaged"):
        load_artifact(copy)


def test_a_network_that_is_none(reference: Artifact, tmp_path: Path) -> None:
    """Something else under the network's name is one clear line, not a fault."""
    (tmp_path / "network.xml").write_text("<net/>")
    with pytest.raises(ConfigurationError, match="OpenVINO cannot read"):
        OpenvinoClassifier(reference, tmp_path / "network.xml")


def test_a_network_of_other_labels(int8: Artifact) -> None:
    """A card that names fewer labels than the network tells apart is not served."""
    with pytest.raises(ConfigurationError, match="tells 3 labels apart, the model's card names 2"):
        OpenvinoClassifier(replace(int8, labels=int8.labels[:2]))


def test_a_model_that_was_not_exported(reference: Artifact) -> None:
    """Whoever asks for OpenVINO by name is told the command that makes its network."""
    with pytest.raises(ConfigurationError, match="video-events export"):
        open_engine(reference, Engine.OPENVINO)


@pytest.mark.parametrize(
    ("gpu", "is_exported", "chosen", "told"),
    [
        (True, True, Engine.TENSORFLOW, False),
        (False, True, Engine.OPENVINO, False),
        (False, False, Engine.TENSORFLOW, True),
    ],
)
def test_auto(
    reference: Artifact,
    int8: Artifact,
    gpu: bool,
    is_exported: bool,
    chosen: Engine,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A GPU is for TensorFlow, a CPU for OpenVINO; a slow choice is told, with the way out of it."""
    monkeypatch.setattr(engines, "has_gpu", lambda: gpu)
    caplog.set_level("INFO")
    assert choose_engine(int8 if is_exported else reference) is chosen
    assert ("video-events export" in caplog.text) is told
    assert choose_engine(int8, Engine.TENSORFLOW) is Engine.TENSORFLOW


def test_a_gpu_is_seen(tmp_path: Path) -> None:
    """A device that is there, not hidden, and has the library that TensorFlow needs; nothing less."""
    (tmp_path / "libcudnn.so.9").touch()
    environment = {"LD_LIBRARY_PATH": str(tmp_path)}
    assert not has_gpu(environment, tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(environment, tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_gpu(environment, tmp_path)
    assert has_gpu({**environment, "CUDA_VISIBLE_DEVICES": "0"}, tmp_path)
    assert not has_gpu({**environment, "CUDA_VISIBLE_DEVICES": ""}, tmp_path)
    assert not has_gpu({**environment, "CUDA_VISIBLE_DEVICES": "-1"}, tmp_path)


def test_cores(tmp_path: Path) -> None:
    """A container's quota bounds the threads, so that they are not throttled; without one all cores count."""
    quota = tmp_path / "cpu.max"
    allowed = len(os.sched_getaffinity(0))
    assert cores(quota) == allowed
    for text, expected in [("max 100000", allowed), ("50000 100000", 1), ("900000000 100000", allowed)]:
        quota.write_text(text + "\n")
        assert cores(quota) == expected


SERVING = """
import sys
import service.api.server
from service.cli import status_of
from service.engines.stored import StoredModel
from service.engines import Engine
model, clip, data, output = sys.argv[1:]
assert status_of(["run", clip, "--model", model, "-o", output, "--json"]) == 0
assert status_of(["evaluate", data, "--model", model, "--json"]) == 0
StoredModel.find(model, Engine.AUTO).open(8)
unwanted = ("tensorflow", "keras", "jax", "torch", "nncf", "openvino_telemetry.main")
print([name for name in unwanted if name in sys.modules])
"""


def test_tensorflow_is_not_imported(
    int8: Artifact, color_folder: Path, write_video: Any, tmp_path: Path
) -> None:
    """Where OpenVINO serves, TensorFlow is not loaded; and nothing is reported home."""
    home = tmp_path / "home"
    home.mkdir()
    arguments = [str(int8.folder), str(write_video()), str(color_folder), str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-c", SERVING, *arguments],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "",
            "HOME": str(home),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert list(home.iterdir()) == []


def test_calibration_images(reference: Artifact, color_folder: Path) -> None:
    """Images for training only, each label by its share, the same for the same seed."""
    samples = load_folder(color_folder)
    chosen = calibration_inputs(reference, samples, count=12, seed=3)
    assert chosen.shape == (12, 32, 32, 3)
    means = chosen.mean(axis=(1, 2)).argmax(axis=1)
    assert np.bincount(means).tolist() == [4, 4, 4]
    assert np.array_equal(chosen, calibration_inputs(reference, samples, count=12, seed=3))
    assert not np.array_equal(chosen, calibration_inputs(reference, samples, count=12, seed=4))
    train = of_split(samples, "train")
    allowed = {reference.preprocessing.model_input(read_image(sample.path)).tobytes() for sample in train}
    assert {image.tobytes() for image in chosen} <= allowed
    with pytest.raises(DatasetError, match="no training image"):
        calibration_inputs(reference, of_split(samples, "test"))


def test_comparison() -> None:
    """The figures of a comparison are those one gets by hand, with background and without."""
    labels = ("a", "b", "background")
    truth = np.array([0, 1, 2])
    exact = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]], np.float32)
    rough = np.array([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]], np.float32)
    figures = compare(Evaluation(labels, truth, exact), Evaluation(labels, truth, rough))
    assert figures == {
        "images": 3,
        "top1_agreement": 0.6667,
        "largest_probability_difference": 0.1,
        "mean_largest_difference": 0.033333,
        "accuracy": 1.0,
        "reference_accuracy": 0.6667,
        "without_background": {"accuracy": 1.0, "reference_accuracy": 0.5},
    }


@pytest.mark.parametrize("name", list_artifacts())
def test_what_ships_is_near_its_reference(name: str) -> None:
    """The 8-bit network that ships was made from these weights, and its record is within the bounds."""
    artifact = load_artifact(name)
    if Precision.INT8 not in artifact.precisions:
        pytest.skip(f"{name} ships without a network for OpenVINO")
    record = artifact.record("export")["int8"]
    assert record["weights"] == hashlib.sha256((artifact.folder / WEIGHTS).read_bytes()).hexdigest()
    for figures in (record["valid"], record["valid"].get("without_background", record["valid"])):
        assert figures["accuracy"] >= figures["reference_accuracy"] - 0.003
    assert record["valid"]["top1_agreement"] >= 0.97


def test_show_tells_of_engines(int8: Artifact, reference: Artifact, capsys: Any) -> None:
    """``models show`` says what can run the model and how far that is from the reference."""
    assert status_of(["models", "show", str(int8.folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["engines"] == ["tensorflow", "openvino"]
    assert shown["export"]["int8"]["valid"]["images"] == 6
    assert status_of(["models", "show", str(int8.folder)]) == 0
    assert "same label on" in capsys.readouterr().out
    assert status_of(["models", "show", str(reference.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"] == ["tensorflow"]
