"""Every network: its size as published, its place in an artifact, and that it learns."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models import architectures
from models.architectures import Kind
from models.architectures.normalisation import finalize_normalization
from models.artifact import Artifact, load_artifact, save_artifact, with_features
from models.errors import ModelError
from models.imagenet import download
from models.preprocessing import Preprocessing
from service.engines import Engine, open_engine

SMALL: dict[str, tuple[Preprocessing, dict[str, object]]] = {
    "resnet50": (Preprocessing(height=32, width=32), {"dense": 8}),
    "vgg16": (Preprocessing(height=32, width=32), {"dense": [8]}),
    "alexnet": (Preprocessing(height=67, width=71, scale=1 / 58), {"dense": [16, 8]}),
    "small_cnn": (Preprocessing(height=32, width=36, mean=(0.0, 0.0, 0.0), scale=1 / 255), {"dense": 8}),
    "keyframe_cnn2": (
        Preprocessing(height=16, width=24, channels="grey", mean=(0.0,), standardise=True),
        {"filters": [4, 4], "dense": 8},
    ),
    "keyframe_cnn4": (
        Preprocessing(height=16, width=16, channels="grey", mean=(0.0,), standardise=True),
        {"filters": [4, 4, 4, 4], "dense": 8},
    ),
    "imagenet:MobileNetV2": (
        Preprocessing(height=32, width=32, channels="rgb", mean=(127.5, 127.5, 127.5), scale=1 / 127.5),
        {"dense": [8, 8, 8], "pooling": "max"},
    ),
    "siamese": (
        Preprocessing(height=16, width=16, mean=(0.0, 0.0, 0.0), scale=1 / 255),
        {"filters": 8, "size": 8},
    ),
    "triplet": (
        Preprocessing(height=16, width=16, mean=(0.0, 0.0, 0.0), scale=1 / 255),
        {"filters": 8, "size": 8},
    ),
}
"""A small size and small options of each network of single frames."""


def small(name: str) -> keras.Model:
    preprocessing, options = SMALL[name]
    return architectures.build(name, 3, preprocessing, **options)


def test_every_frame_network_is_tried_here() -> None:
    """A network that is added without these tests would be served untried."""
    known = [architectures.find(name) for name in architectures.NAMES]
    frame = {each.name for each in known if each.kind is Kind.FRAME}
    assert frame <= SMALL.keys()


@pytest.mark.parametrize(
    ("name", "classes", "side", "options", "count"),
    [
        ("small_cnn", 10, 32, {}, 79_626),
        ("alexnet", 1000, 227, {"batch_normalisation": False}, 62_378_344),
        ("vgg16", 10, 32, {"dense": []}, 14_714_688 + 5_130),
        ("resnet50", 10, 32, {"dense": 0}, 23_587_712 + 20_490),
        ("imagenet:MobileNetV2", 10, 32, {"dense": []}, 2_257_984 + 12_810),
    ],
)
def test_parameters_are_as_many_as_published(
    name: str, classes: int, side: int, options: dict, count: int
) -> None:
    """A network of the same name but another size would not be the one of the paper."""
    network = architectures.build(name, classes, Preprocessing(height=side, width=side), **options)
    assert network.count_params() == count
    assert network.output_shape == (None, classes)


@pytest.mark.parametrize("name", SMALL)
def test_one_step_lowers_the_loss(name: str) -> None:
    """Gradients reach the weights: after steps on one batch its loss is lower than before."""
    keras.utils.set_random_seed(1)
    network = small(name)
    images = np.random.default_rng(1).integers(0, 256, (6, *network.input_shape[1:])).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    for layer in network.layers:  # chance in dropout would blur the comparison
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    network.compile(keras.optimizers.SGD(1e-3), loss, jit_compile=False)
    before = float(loss(targets, network(images, training=True)))
    network.train_on_batch(images, targets)
    assert float(loss(targets, network(images, training=True))) < before


def stored(
    folder: Path,
    network: Any,
    name: str,
    options: dict[str, Any],
    preprocessing: Preprocessing,
    *,
    labels: tuple[str, ...],
    temperature: float,
) -> Artifact:
    return save_artifact(
        folder,
        network,
        name="tiny",
        version="1",
        architecture=name,
        options=architectures.find(name).complete(options),
        labels=labels,
        preprocessing=preprocessing,
        temperature=temperature,
        records={},
    )


@pytest.mark.parametrize("name", SMALL)
def test_stored_networks_are_served(name: str, tmp_path: Path) -> None:
    """What was trained is what the service runs: same probabilities, and features of the same width."""
    network = small(name)
    preprocessing, options = SMALL[name]
    labels = ("a", "b", "background")
    stored(tmp_path, network, name, options, preprocessing, labels=labels, temperature=2.0)
    artifact = load_artifact(tmp_path)
    images = np.random.default_rng(2).integers(0, 256, (3, *network.input_shape[1:]), np.uint8)
    logits = np.asarray(network(images.astype(np.float32), training=False)) / 2.0
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classifier = open_engine(artifact, Engine.TENSORFLOW, batch_size=4)
    np.testing.assert_allclose(classifier.classify(images), expected, atol=0.01)
    features = network.get_layer(architectures.find(name).features).output
    assert with_features(artifact.build()).output_shape[1] == tuple(features.shape)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_survives_a_checkpoint(name: str, tmp_path: Path) -> None:
    """A resumed run goes on with the very network that was stored, own layers included."""
    network = small(name)
    images = np.random.default_rng(3).integers(0, 256, (2, *network.input_shape[1:])).astype(np.float32)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", compile=False)
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(network(images)))


def test_weights_have_the_same_names_each_time() -> None:
    """Stored weights are found by name, which must not hang on what the process built before."""
    first, second = small("imagenet:MobileNetV2"), small("imagenet:MobileNetV2")
    assert [weight.path for weight in first.weights] == [weight.path for weight in second.weights]


@pytest.mark.parametrize("base", ["ConvNeXtTiny", "EfficientNetB0", "MobileNetV3Small"])
def test_bases_with_operations_and_statistics_are_stored_and_loaded(base: str, tmp_path: Path) -> None:
    """Sums between layers, counts without a shape and nested statistics come back as they were."""
    name, options = f"imagenet:{base}", {"dense": [4]}
    preprocessing = Preprocessing(height=32, width=32, channels="rgb", mean=(0.0, 0.0, 0.0))
    network = architectures.build(name, 2, preprocessing, **options)
    rng = np.random.default_rng(7)
    for variable in network.weights:
        if variable.path.endswith(("/mean", "/variance")) and "normalization" in variable.path:
            variable.assign(rng.uniform(0.2, 0.5, variable.shape))
        elif len(variable.shape) > 1:  # kernels are stored in half precision
            variable.assign(np.asarray(variable).astype(np.float16))
    finalize_normalization(network)
    artifact = stored(tmp_path, network, name, options, preprocessing, labels=("a", "b"), temperature=1.0)
    images = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    again = artifact.build_network()
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(network(images)))


def test_efficientnet_sees_what_its_imagenet_weights_expect() -> None:
    """Keras divides once more by the root of the deviation, but only where it loads the weights itself."""
    base = architectures.build("imagenet:EfficientNetB0", 2, Preprocessing(height=32, width=32)).get_layer(
        "base"
    )
    divided = base.get_layer("base_divided_again")
    np.testing.assert_allclose(np.asarray(divided.scale), 1 / np.sqrt([0.229, 0.224, 0.225]))
    assert isinstance(base.layers[base.layers.index(divided) - 1], keras.layers.Normalization)


def test_grey_and_standardised_in_the_network() -> None:
    """Brightness and contrast of a picture do not reach a network that standardises; a plain one is zero."""
    network = small("keyframe_cnn2")
    image = np.random.default_rng(4).integers(50, 100, (1, 16, 24, 1)).astype(np.float32)
    image = np.repeat(image, 3, axis=-1)
    inner = keras.Model(network.input, network.get_layer("standardise").output)
    found = np.asarray(inner(image))
    assert found.shape == (1, 16, 24, 1)
    assert found.mean() == pytest.approx(0, abs=1e-4)
    assert found.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(np.asarray(inner(2 * image + 7)), found, atol=1e-4)
    assert not np.asarray(inner(np.full((1, 16, 24, 3), 128, np.float32))).any()


def test_mistakes_are_explained() -> None:
    """Unknown names, options and impossible sizes are told with what there is."""
    with pytest.raises(ModelError, match="there are resnet50, vgg16"):
        architectures.find("lenet")
    with pytest.raises(ModelError, match="no base 'LeNet'"):
        architectures.find("imagenet:LeNet")
    with pytest.raises(ModelError, match="has no option colour; its options: dense, dropout"):
        architectures.build("small_cnn", 3, colour=1)
    with pytest.raises(ModelError, match="16×16 pixels"):
        architectures.build("small_cnn", 3, Preprocessing(height=16, width=16))
    with pytest.raises(ModelError, match="at most 3"):
        architectures.build("imagenet:MobileNetV2", 3, Preprocessing(height=32, width=32), dense=[1] * 4)


def test_a_download_tells_how_far_it_is_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keras draws its bar on stdout, which is for what a command has found."""
    monkeypatch.setattr(keras.applications, "ResNet50", lambda **_: print("94765736 of 94765736"))
    download("ResNet50")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "94765736 of 94765736\n")
