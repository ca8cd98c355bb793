"""Blind tests by group."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.datasets import Sample, counts
from models.errors import DatasetError
from models.leave_out import groups_of, leave_out, of_groups

SAMPLES = [
    Sample(Path(f"{label}/{group}_{number:02}.png"), label, "train", group)
    for group in ("a", "b", "c")
    for label in ("key", "other")
    for number in range(20)
]


def test_a_group_is_left_out_as_a_whole() -> None:
    """No image of the group is trained on or decides when to stop, and every one of them is judged."""
    divided = leave_out(SAMPLES, "b", valid_fraction=0.25)
    assert {sample.group for sample in divided if sample.split == "test"} == {"b"}
    assert {sample.group for sample in divided if sample.split != "test"} == {"a", "c"}
    assert counts(divided) == {
        "test": {"key": 20, "other": 20},
        "train": {"key": 30, "other": 30},
        "valid": {"key": 10, "other": 10},
    }


def test_the_division_hangs_on_the_seed_alone() -> None:
    """Another order of the files gives the same images to each split; another seed gives others."""
    divided = leave_out(SAMPLES, "a", seed=3)
    assert divided == leave_out(SAMPLES[::-1], "a", seed=3)
    assert divided != leave_out(SAMPLES, "a", seed=4)


def test_repeated_images_are_on_one_side() -> None:
    """A balanced list repeats images, of which none may both train and validate."""
    divided = leave_out([*SAMPLES, *SAMPLES], "a", valid_fraction=0.3)
    assert len({(sample.path, sample.split) for sample in divided}) == len(SAMPLES)
    assert counts(divided)["valid"] == {"key": 24, "other": 24}
    shared = replace(SAMPLES[0], group="b")
    divided = leave_out([*SAMPLES, shared], "a")
    assert {sample.split for sample in divided if sample.path == shared.path} == {"test"}


def test_excluded_images_stay_out() -> None:
    """What a splits file excludes does not come back through a new division."""
    excluded = Sample(Path("key/a_99.png"), "key", "excluded", "a")
    assert excluded.path not in {sample.path for sample in leave_out([*SAMPLES, excluded], "a")}


def test_the_only_image_of_a_label_is_trained_on() -> None:
    """A label without training images would refuse the whole run; of two images one validates."""
    rare = [Sample(Path(f"rare/{n}.png"), "rare", "train", group) for n, group in enumerate("aab")]
    divided = counts(leave_out([*SAMPLES, *rare], "a"))
    assert divided["train"]["rare"] == 1
    assert "rare" not in divided["valid"]
    divided = counts(leave_out([*SAMPLES, *rare], "b", valid_fraction=0.9))
    assert (divided["train"]["rare"], divided["valid"]["rare"]) == (1, 1)


def test_mistakes_are_explained() -> None:
    """Unknown groups are answered with those there are; images without groups cannot be divided by them."""
    assert groups_of(SAMPLES) == ("a", "b", "c")
    with pytest.raises(DatasetError, match="no group 'd' to leave out; there are a, b, c"):
        leave_out(SAMPLES, "d")
    with pytest.raises(DatasetError, match="no group d; there are a, b, c"):
        of_groups(SAMPLES, ["a", "d"])
    with pytest.raises(DatasetError, match="column group"):
        groups_of([Sample(Path("x.png"), "key", "train")])
