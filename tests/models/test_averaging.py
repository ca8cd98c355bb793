"""The mean of several models' weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import architectures
from models.artifact import Artifact, save_artifact
from models.averaging import average, save_average
from models.datasets import gone_on, joint_division, learnt_from
from models.errors import ModelError

LABELS = ("blue", "red")


def stored(folder: Path, seed: int, **other: Any) -> Artifact:
    """A small network of random weights."""
    import keras

    keras.utils.set_random_seed(seed)
    options = {"dense": 4} | other.get("options", {})
    labels = other.get("labels", LABELS)
    preprocessing = architectures.find("small_cnn").preprocessing
    return save_artifact(
        folder,
        architectures.build("small_cnn", len(labels), **options),
        name=folder.name,
        version="1",
        architecture="small_cnn",
        options=options,
        labels=labels,
        preprocessing=other.get("preprocessing", preprocessing),
        temperature=0.5 + seed,
        records={"training": other.get("training", {"seconds": 7, "settings": {}}), "metrics": {}},
    )


def test_every_weight_is_the_mean(tmp_path: Path) -> None:
    """Of three models alike; the views and the temperature are those of the first."""
    models = [stored(tmp_path / str(seed), seed) for seed in (1, 2, 3)]
    mean = save_average(models, tmp_path / "mean", name="colors", version="4")
    weights = [model.weights() for model in models]
    for name, array in mean.weights().items():
        expected = np.mean([each[name].astype(np.float64) for each in weights], axis=0)
        np.testing.assert_allclose(array, expected, atol=1e-3)
    assert (mean.name, mean.version, mean.temperature) == ("colors", "4", 1.5)
    parts = mean.record("training")["average"]["models"]
    assert [(part["name"], part["share"]) for part in parts] == [
        (f"{i}", pytest.approx(1 / 3)) for i in (1, 2, 3)
    ]
    assert parts[1]["files"] == models[1].files
    assert parts[1]["training"] == models[1].record("training")
    assert "seconds" not in mean.record("training")


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    """Other labels, another network, other colours, a model of its own, or weights that there are not."""
    one = stored(tmp_path / "one", 1)
    grey = replace(one.preprocessing, mean=(1.0, 2.0, 3.0))
    for other, hint in [
        (stored(tmp_path / "labels", 2, labels=("blue", "green")), "has labels"),
        (stored(tmp_path / "options", 2, options={"dense": 5}), "has options"),
        (stored(tmp_path / "pixels", 2, preprocessing=grey), "takes images with mean"),
    ]:
        with pytest.raises(ModelError, match=hint):
            average([one, other])
    with pytest.raises(ModelError, match="two models or more"):
        average([one])
    with pytest.raises(ModelError, match="no weights of ImageNet"):
        average([one], imagenet=0.5)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ModelError, match="at least 0 and below 1"):
            average([one], imagenet=share)
    with pytest.raises(ModelError, match="holds a model already"):
        save_average([one, one], one.folder, name="x", version="1")


def test_what_any_model_was_trained_on_is_known(tmp_path: Path) -> None:
    """So it can validate or test nothing that goes on from the mean, though another model kept it apart."""
    first = {"train": "a b k", "valid": "c k", "test": "d"}
    second = {"train": "a c k", "valid": "b k", "test": "d e"}
    joint = joint_division([first, second])
    assert joint == {"train": "a b k c", "valid": "k", "test": "d e"}
    assert joint_division([first, first]) == first
    assert joint_division([first, {}]) == first
    learnt = learnt_from({"division": first, "settings": {"learn_valid": True}})
    assert joint_division([learnt, second]) == {"train": "a b k c", "valid": "", "test": "d e"}
    was = {"division": {"train": "a b", "valid": "f"}, "settings": {"learn_valid": True}}
    assert gone_on(first, was) == {"train": "a b k f", "valid": "c k", "test": "d"}


def test_a_mean_keeps_images_apart_that_no_model_learned_from(tmp_path: Path) -> None:
    """Though the first of the models learned from its own validation images, not all that validate did."""
    first = {"division": {"train": "a", "valid": "b"}, "settings": {"learn_valid": True}, "seconds": 1}
    second = {"division": {"train": "a", "valid": "c"}, "settings": {}, "seconds": 1}
    models = [stored(tmp_path / name, 1, training=each) for name, each in (("1", first), ("2", second))]
    mean = save_average(models, tmp_path / "mean", name="colors", version="4")
    assert learnt_from(mean.record("training")) == {"train": "a b", "valid": "c", "test": ""}
