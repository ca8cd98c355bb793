"""Blind tests: all images of a group are for the test, so that nothing like them was seen in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.datasets import Sample
from models.errors import DatasetError

USED = frozenset({"train", "valid", "test"})


def groups_of(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The groups of ``samples`` in order; raises DatasetError where there are fewer than two."""
    groups = tuple(sorted({sample.group for sample in samples if sample.group}))
    if len(groups) < 2:
        raise DatasetError(
            f"the images have {len(groups)} groups, at least 2 are needed to leave one out; "
            "name them in the column group of splits.csv"
        )
    return groups


def of_groups(samples: Sequence[Sample], groups: Sequence[str]) -> list[Sample]:
    """The samples of ``groups``; raises DatasetError for a group that is not there."""
    known = {sample.group for sample in samples if sample.group}
    strange = [group for group in groups if group not in known]
    if strange or not groups:
        raise DatasetError(f"no group {', '.join(strange)}; there are {', '.join(sorted(known)) or 'none'}")
    return [sample for sample in samples if sample.group in groups]


def leave_out(
    samples: Sequence[Sample], group: str, *, valid_fraction: float = 0.1, seed: int = 1
) -> list[Sample]:
    """``samples`` with ``group`` for the test and a random share of each label of the rest to validate.

    The share is one image at least where there are two. What is left is for training, whatever the splits
    were before; samples that are in none of the three splits stay out, and an image that is listed more
    than once is on one side. Validation images have near neighbours in training then: they say when to stop,
    not how good the model is. Raises DatasetError for a group that is not there.
    """
    groups = groups_of(samples)
    if group not in groups:
        raise DatasetError(f"no group {group!r} to leave out; there are {', '.join(groups)}")
    used = sorted((sample for sample in samples if sample.split in USED), key=lambda sample: sample.path)
    rest: dict[str, list[Sample]] = defaultdict(list)
    divided = [replace(sample, split="test") for sample in used if sample.group == group]
    unseen = {sample.path for sample in divided}
    for sample in used:
        if sample.path not in unseen:
            rest[sample.label].append(sample)
    for label, members in sorted(rest.items()):
        paths = list(dict.fromkeys(sample.path for sample in members))
        order = np.random.default_rng([seed, *label.encode()]).permutation(len(paths))
        count = min(max(1, round(valid_fraction * len(paths))), len(paths) - 1)
        valid = {paths[number] for number in order[:count]}
        divided += [replace(sample, split="valid" if sample.path in valid else "train") for sample in members]
    return divided
