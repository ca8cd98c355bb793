from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from models import architectures
from models.architectures.clips import ClipParts, cut
from models.artifact import with_features
from models.errors import ArtifactError
from models.preprocessing import Preprocessing
from service.engines import open_engine
from service.engines.keras import KerasClassifier
from service.engines.keras_clips import KerasClipEngine
from service.types import Embedder, Image


class SmallInput:
    views = (None,)

    def model_input(self, image: Image, view: int = 0) -> Image:
        return image[:8, :8]


class TinyArtifact:
    """A network of a few weights; counts how often it is traced."""

    labels = ("a", "b", "background")
    preprocessing = SmallInput()
    openvino_network = None

    def build(self) -> Any:
        import keras

        keras.utils.set_random_seed(1)
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Conv2D(4, 3, activation="relu")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def inputs() -> Any:
    return np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8)


def test_agrees_with_the_model(inputs: Any) -> None:
    """The compiled, padded path gives what the Keras model itself gives."""
    artifact = TinyArtifact()
    expected = np.asarray(artifact.build()(inputs.astype(np.float32), training=False))
    result = KerasClassifier(artifact, batch_size=4).classify(inputs)
    assert result.dtype == np.float32
    assert np.allclose(result, expected, atol=1e-6)


def test_company_does_not_matter(inputs: Any) -> None:
    """A frame's probabilities do not hang on how many others are in its batch."""
    classifier = open_engine(TinyArtifact(), batch_size=4)
    together = classifier.classify(inputs)
    alone = np.concatenate([classifier.classify(one[None]) for one in inputs])
    assert np.array_equal(together, alone)
    assert classifier.classify(inputs[:0]).shape == (0, 3)


def test_meets_the_protocol() -> None:
    """Labels and preprocessing are those of the stored model."""
    classifier = open_engine(TinyArtifact())
    assert classifier.labels == ("a", "b", "background")
    assert classifier.model_input(np.zeros((20, 30, 3), np.uint8)).shape == (8, 8, 3)


def test_embeds_what_it_classifies(inputs: Any) -> None:
    """Features are the network's average pool, row by row with the probabilities of ``classify``."""
    import keras

    model = TinyArtifact().build()
    pool = keras.Model(model.input, model.layers[-2].output)
    expected = np.asarray(pool(inputs.astype(np.float32), training=False))
    classifier: Embedder = KerasClassifier(TinyArtifact(), batch_size=4)
    probabilities, features = classifier.embed(inputs)
    assert np.array_equal(probabilities, classifier.classify(inputs))
    assert features.shape == (11, 4)
    assert np.allclose(features, expected, atol=1e-5)


def test_a_network_without_a_pool_is_refused() -> None:
    """The reason is told where a network has no features, instead of taking those of some other layer."""
    import keras

    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    with pytest.raises(ArtifactError, match="no layer to take features from"):
        with_features(keras.Model(inputs, outputs))


def test_the_backend_of_a_training_is_not_that_of_the_engine() -> None:
    """A shell that names another backend can evaluate; a process that has one loaded is told what to do."""
    loaded = "import sys, types; jax = types.SimpleNamespace(backend=lambda: 'jax')"
    loaded += "; sys.modules['keras'] = types.SimpleNamespace(backend=jax)"
    for program, status, shown in (
        ("import service.engines.keras, keras; print(keras.backend.backend())", 0, "tensorflow"),
        (f"{loaded}; import service.engines.keras", 1, "whose Keras runs on 'jax': start another one"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status
        assert shown in done.stdout + done.stderr


def test_half_precision_is_near(inputs: Any) -> None:
    """What a GPU runs, compiled by XLA in half precision, agrees; other models are built as before."""
    import keras

    expected, expected_features = KerasClassifier(TinyArtifact(), batch_size=4).embed(inputs)
    fast = KerasClassifier(TinyArtifact(), batch_size=4, buckets=True, accelerated=True)
    fast.warm_up()
    probabilities, features = fast.embed(inputs)
    assert probabilities.dtype == features.dtype == np.float32
    assert 0 < np.abs(features - expected_features).max() < 5e-3
    assert np.allclose(probabilities, expected, atol=5e-3)
    assert keras.config.dtype_policy().name == "float32"


def test_what_xla_cannot_compile_runs_without(inputs: Any) -> None:
    """On a GPU Keras has cuDNN compute LSTM and GRU, which XLA does not know: the layers say so."""
    import keras
    import tensorflow as tf

    class Foreign(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.supports_jit = False

        def call(self, x: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(lambda values: values, [x], x.dtype), x.shape)

    class ForeignArtifact(TinyArtifact):
        def build(self) -> Any:
            model = super().build()
            return keras.Model(model.input, Foreign()(model.output))

    expected = KerasClassifier(TinyArtifact(), batch_size=4).classify(inputs)
    found = KerasClassifier(ForeignArtifact(), batch_size=4, accelerated=True).classify(inputs)
    assert np.allclose(found, expected, atol=5e-3)


class ClipArtifact:
    """A clip network of random weights, cut in two."""

    labels = ("a", "b", "background")
    preprocessing = Preprocessing(height=32, width=32, mean=(0.0, 0.0, 0.0), scale=1 / 255)

    def __init__(self, architecture: str, **options: Any) -> None:
        self._architecture = architecture
        self._options = architectures.find(architecture).complete({"frames": 4} | options)

    def build_clip_parts(self) -> ClipParts:
        import keras

        keras.utils.set_random_seed(3)
        network = architectures.build(self._architecture, 3, self.preprocessing, **self._options)
        parts = cut(network, self.preprocessing)
        probabilities = keras.layers.Softmax(dtype="float32")(parts.decide.output)
        return ClipParts(parts.frames, parts.encode, keras.Model(parts.decide.input, probabilities))


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("lrcn", {"base": "small", "sequence": "lstm", "units": 8}), ("small_c3d", {})],
)
def test_clip_models_are_accelerated_too(architecture: str, options: dict[str, Any]) -> None:
    """Both parts, compiled by XLA in half precision as on a GPU, agree with the reference."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    answers = []
    for accelerated in (False, True):
        engine = KerasClipEngine(
            ClipArtifact(architecture, **options), batch_size=4, buckets=True, accelerated=accelerated
        )
        features = engine.encode(frames)
        answers.append(engine.decide(np.stack([features[start : start + 4] for start in range(5)])))
    assert answers[1].dtype == np.float32
    assert 0 < np.abs(answers[1] - answers[0]).max() < 1e-2
