"""Clip networks: published sizes, the cut between frames and windows, storing, learning."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from models import architectures
from models.architectures import Kind
from models.architectures.clips import STATISTICS, cut, load_base_weights, set_statistics
from models.errors import ModelError, WeightsError

TINY = {"base": "small", "units": 6, "frames": 4}
CLIP_NETWORKS = {
    "lrcn": TINY,
    "concat": TINY,
    "c3d": {"width": 1 / 32, "dense": 8},
    "small_c3d": {"filters": 2, "frames": 8},
}


def tiny(name: str, classes: int = 3, **options):
    """A clip network of a few weights and small pictures."""
    architecture = architectures.find(name)
    side = 32 if name == "c3d" else 24
    preprocessing = replace(architecture.preprocessing, height=side, width=side)
    return architecture.build(classes, preprocessing, **(CLIP_NETWORKS[name] | options)), preprocessing


def clips_for(network, count: int = 2) -> np.ndarray:
    rng = np.random.default_rng(4)
    return rng.integers(0, 256, (count, *network.input_shape[1:])).astype(np.float32)


def test_c3d_is_that_of_the_paper() -> None:
    """Eight convolutions and three dense layers on 16 frames of 112×112: 79,991,015 weights for Sports-1M."""
    network = architectures.build("c3d", 487)
    assert network.input_shape == (None, 16, 112, 112, 3)
    assert network.output_shape == (None, 487)
    assert network.count_params() == 79_991_015
    assert network.get_layer("pool5").output.shape == (None, 1, 4, 4, 512)
    assert network.get_layer("features").output.shape == (None, 8192)


def test_sizes_of_the_others() -> None:
    """Known numbers of weights: a change of a network does not go unseen."""
    small = architectures.build("small_c3d", 2)
    assert small.input_shape == (None, 16, 112, 112, 3)
    convolutions = 27 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 64)
    assert small.count_params() == convolutions + 4 * (16 + 32 + 64 + 64) + (128 * 2 + 2) == 181_970
    lrcn = architectures.build("lrcn", 2)
    assert lrcn.input_shape == (None, 20, 224, 224, 3)
    resnet, statistics, lstm, logits = 23_587_712, 2 * 2048, 4 * (2048 + 64 + 1) * 64, 64 * 2 + 2
    assert lrcn.count_params() == resnet + statistics + lstm + logits
    concat = architectures.build("concat", 2)
    assert concat.count_params() == resnet + statistics + (20 * 2048 + 1) * 64 + 64 * 2 + 2


@pytest.mark.parametrize(
    ("sequence", "units"),
    [
        ("lstm", 4 * (64 + 6 + 1) * 6),
        ("gru", 3 * (64 + 6 + 2) * 6),
        ("simple_rnn", (64 + 6 + 1) * 6),
        ("conv1d", (3 * 64 + 1) * 6),
    ],
)
@pytest.mark.parametrize("stacked", [1, 3])
def test_sequence_models_can_be_chosen_and_stacked(sequence: str, units: int, stacked: int) -> None:
    """Each kind has its own number of weights, and up to three of them see the sequence of the one before."""
    network, _ = tiny("lrcn", sequence=sequence, stacked=stacked)
    heads = [layer for layer in network.layers if layer.name.startswith(f"head_{sequence}")]
    assert len(heads) == stacked
    assert heads[0].count_params() == units
    assert np.asarray(network(clips_for(network))).shape == (2, 3)


@pytest.mark.parametrize("name", CLIP_NETWORKS)
def test_the_parts_are_the_whole(name: str) -> None:
    """Frames seen one by one, then decided upon, give what the whole network gives for the window."""
    network, preprocessing = tiny(name)
    assert architectures.find(name).kind is Kind.CLIP
    parts = cut(network, preprocessing)
    clips = clips_for(network, 3)
    assert parts.frames == clips.shape[1]
    features = clips
    if parts.encode is not None:
        set_statistics(network, np.random.default_rng(1).normal(2, 3, (9, 64)))
        rows = np.asarray(parts.encode(clips.reshape(-1, *clips.shape[2:])))
        features = rows.reshape(3, parts.frames, -1)
    expected = np.asarray(network(clips))
    np.testing.assert_allclose(np.asarray(parts.decide(features)), expected, atol=1e-5)
    assert (parts.encode is None) == (name in ("c3d", "small_c3d"))


@pytest.mark.parametrize("name", CLIP_NETWORKS)
def test_networks_can_be_saved_and_loaded(name: str, tmp_path: Path) -> None:
    """What is stored by Keras between stages comes back with the same answers."""
    network, _ = tiny(name)
    clips = clips_for(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(np.asarray(loaded(clips)), np.asarray(network(clips)), atol=1e-6)


@pytest.mark.parametrize("name", CLIP_NETWORKS)
def test_a_step_lowers_the_loss(name: str) -> None:
    """Gradients reach the weights of every network."""
    keras.utils.set_random_seed(2)
    network, _ = tiny(name, dropout=0.0)
    network.compile(keras.optimizers.Adam(3e-4), keras.losses.CategoricalCrossentropy(from_logits=True))
    clips, targets = clips_for(network, 4), np.eye(3)[[0, 1, 2, 0]]
    losses = [float(network.train_on_batch(clips, targets)) for _ in range(6)]
    assert losses[-1] < losses[0]


def test_statistics_make_features_count_alike() -> None:
    """Features are standardised by what was seen in training; training does not change that."""
    network, _ = tiny("lrcn")
    rows = np.random.default_rng(1).normal(5, 2, (400, 64)).astype(np.float32)
    set_statistics(network, rows)
    layer = network.get_layer(STATISTICS)
    seen = np.asarray(layer(rows[None], training=True))[0]
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"sequence": "transformer"}, {"stacked": 4}, {"base": "resnet51"}, {"pooling": "min"}, {"units_": 1}],
)
def test_strange_options_are_explained(options: dict[str, object]) -> None:
    """The message names what there is."""
    with pytest.raises(ModelError, match=r"there are|1 to 3|its options"):
        tiny("lrcn", **options)


def test_a_base_can_end_earlier() -> None:
    """Features of an inner layer see smaller things; ``max`` keeps those that are in one place only."""
    network = architectures.build("lrcn", 2, layer="conv4_block6_out", pooling="avg_max")
    assert network.get_layer("features").output.shape == (None, 20, 2 * 1024)


def test_only_known_bases_have_weights(tmp_path: Path) -> None:
    """A base of one's own is trained; asking for its ImageNet weights is a mistake that is told."""
    network, _ = tiny("lrcn")
    with pytest.raises(WeightsError, match="weights none"):
        load_base_weights(network)
    vgg = architectures.build(
        "lrcn", 2, replace(architectures.find("lrcn").preprocessing, height=64, width=64), base="vgg16"
    )
    with pytest.raises(WeightsError, match="resnet50 alone"):
        load_base_weights(vgg, tmp_path)
