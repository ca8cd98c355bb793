"""The images of an experiment, divided as it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.data.listing import SPLITS, Entry
from models.data.split import add_splits
from models.datasets import Collection, Sample
from models.errors import ExperimentError
from models.experiments.experiment import Experiment
from models.leave_out import groups_of, leave_out, of_groups

DEFAULT_VALID = 0.1
"""Share of the images that validate a blind test."""


def load_samples(experiment: Experiment, seed: int) -> list[Sample]:
    """All images with their splits. Raises DatasetError or ExperimentError."""
    samples = Collection(
        experiment.data,
        experiment.splits,
        experiment.background,
        experiment.valid_groups,
        experiment.test_groups,
        experiment.extra,
    ).load(experiment.labels or None, seed=seed)
    if experiment.groups:
        samples = of_groups(samples, experiment.groups)
    if experiment.leave_out is not None:
        return blind(samples, experiment, seed)
    if experiment.valid_fraction is None and experiment.test_fraction is None:
        return samples
    valid, test = experiment.valid_fraction or 0.0, experiment.test_fraction or 0.0
    if valid + test >= 1:
        raise ExperimentError(
            f"valid_fraction {valid:g} and test_fraction {test:g} leave nothing to train on"
        )
    shares = {"train": 1 - valid - test, "valid": valid, "test": test}
    used = [sample for sample in samples if sample.split in SPLITS]
    return divide(used, shares, experiment, seed)


def load_groups(experiment: Experiment) -> tuple[str, ...]:
    """The groups that ``leave_out`` can name."""
    whole = experiment.model_copy(update={"leave_out": None})
    return groups_of([one for one in load_samples(whole, experiment.seed or 1) if one.split in SPLITS])


def blind(samples: Sequence[Sample], experiment: Experiment, seed: int) -> list[Sample]:
    """The group ``leave_out`` for the test, a part of the others for validation, the rest to train on."""
    share = DEFAULT_VALID if experiment.valid_fraction is None else experiment.valid_fraction
    divided = leave_out(samples, str(experiment.leave_out), valid_fraction=share, seed=seed)
    if experiment.split_by == "image":
        return divided
    rest = [sample for sample in divided if sample.split != "test"]
    shares = {"train": 1 - share, "valid": share}
    return divide(rest, shares, experiment, seed) + [one for one in divided if one.split == "test"]


def divide(
    samples: Sequence[Sample], shares: dict[str, float], experiment: Experiment, seed: int
) -> list[Sample]:
    entries = [Entry(str(sample.path), sample.label, "", sample.group) for sample in samples]
    divided = add_splits(entries, shares, seed=seed, by_group=experiment.split_by == "group")
    return [replace(sample, split=entry.split) for sample, entry in zip(samples, divided, strict=True)]
