"""The images of an experiment, divided as it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from models import datasets
from models.artifact import Artifact, load_artifact, origin_of
from models.counted import counted
from models.data.listing import BACKGROUND, SPLITS, other_pictures_in
from models.datasets import Collection, Sample
from models.errors import DatasetError, ExperimentError, ModelError
from models.experiments.experiment import Experiment
from models.leave_out import groups_of, leave_out, of_groups
from models.preprocessing import Preprocessing

DEFAULT_VALID = 0.1
"""Share of the images that validate a blind test."""
READERS: Final = 4
"""Threads that read images at the same time."""


def load_samples(experiment: Experiment, seed: int) -> list[Sample]:
    """All images with their splits. Raises DatasetError or ExperimentError."""
    by_group = experiment.split_by == "group"
    named = (*experiment.valid_groups, *experiment.test_groups)
    if named and experiment.leave_out is not None:
        raise ExperimentError(
            f"leave_out decides what is tested; the groups {', '.join(named)} cannot be kept apart beside it"
        )
    labels = experiment.labels
    if labels and experiment.background is not None:
        labels = tuple(dict.fromkeys((*labels, BACKGROUND)))
    own, extra = Collection(
        experiment.data,
        experiment.splits,
        experiment.background,
        experiment.valid_groups,
        experiment.test_groups,
        experiment.extra,
        by_group,
    ).load_apart(labels or None, seed=seed)
    if by_group and not any(sample.group for sample in own if sample.label != BACKGROUND):
        raise ExperimentError(
            f"no image of {experiment.data} has a group to be divided by; name them in the column group of "
            "splits.csv, or in folders: <label>/<group>/<image>"
        )
    if experiment.groups:
        own = of_groups(own, experiment.groups)
        extra = [sample for sample in extra if sample.group in experiment.groups]
    if experiment.leave_out is not None:
        unseen = [sample for sample in extra if sample.group != experiment.leave_out]
        return blind(own, experiment, seed) + unseen
    if experiment.valid_fraction is None and experiment.test_fraction is None:
        return own + extra
    return anew([sample for sample in own if sample.split in SPLITS], experiment, seed) + extra


def tell_unread(experiment: Experiment, samples: Iterable[Sample], tell: Callable[[str], None]) -> None:
    """Tell of pictures that are none of ``samples`` since their formats are not read."""
    folders = (experiment.data, experiment.background, *experiment.extra)
    known = {sample.path for sample in samples}
    unread = [path for folder in folders if folder for path in other_pictures_in(folder) if path not in known]
    if unread:
        tell(
            f"not read: {counted(len(unread), 'picture')} of other formats, {unread[0]} first; "
            "make JPEG or PNG of them"
        )


def without_copies(samples: Sequence[Sample], tell: Callable[[str], None]) -> list[Sample]:
    """``samples`` without those that train, or validate, while a copy of them judges; ``tell`` is told.

    Images are copies where their files are equal; of near copies ``video-events data duplicates`` knows.
    """
    kept, copies = datasets.divide_copies(samples)
    if copies:
        tell(
            f"left out: {counted(len(copies), 'image')} of train or valid, in valid or test too, "
            f"{copies[0].path} first ('video-events data check' names such images)"
        )
    return kept


def anew(samples: Sequence[Sample], experiment: Experiment, seed: int) -> list[Sample]:
    """``samples`` divided by the fractions that are given.

    A split without a fraction stays as it is, and the fraction is one of the rest; so does the background
    where groups of it are named. Raises ExperimentError for fractions that leave nothing to train on.
    """
    given = {"valid": experiment.valid_fraction, "test": experiment.test_fraction}
    shares = {split: share for split, share in given.items() if share is not None}
    if sum(shares.values()) >= 1:
        said = " and ".join(f"{split}_fraction {share:g}" for split, share in shares.items())
        raise ExperimentError(f"{said} leave nothing to train on")
    by_name = bool(experiment.valid_groups or experiment.test_groups)
    kept: list[Sample] = []
    rest: list[Sample] = []
    for sample in samples:
        stays = sample.split in given and sample.split not in shares
        (kept if stays or (by_name and sample.label == BACKGROUND) else rest).append(sample)
    return divide(rest, {"train": 1 - sum(shares.values()), **shares}, experiment, seed) + kept


def load_groups(experiment: Experiment) -> tuple[str, ...]:
    """The groups that ``leave_out`` can name."""
    whole = experiment.model_copy(update={"leave_out": None, "extra": ()})
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
    return datasets.divide(samples, shares, seed=seed, by_group=experiment.split_by == "group")


def check_unseen(earlier: Artifact, samples: Iterable[Sample]) -> None:
    """Raise ModelError where ``earlier``, whose weights are to go on, was trained on what is to judge them.

    Models of early versions do not tell what they were trained on.
    """
    judges = [sample for sample in samples if sample.split in ("valid", "test")]
    seen = datasets.trained_on(judges, datasets.learnt_from(earlier.record("training")))
    if seen:
        raise ModelError(
            f"{earlier.name} was trained on {counted(len(seen), 'image')} now to validate or test it, "
            f"{seen[0].path} first; give the same splits or seed as then"
        )


def before(experiment: Experiment, division: Mapping[str, str]) -> dict[str, Any]:
    """For the record of a training on ``division``: what it went on from, and what either learned from."""
    if experiment.start_from is None:
        return {"before": None, "division": division}
    earlier = load_artifact(experiment.start_from)
    return {"before": origin_of(earlier), "division": datasets.gone_on(division, earlier.record("training"))}


def check_fed_alike(earlier: Artifact, preprocessing: Preprocessing) -> None:
    """Raise ModelError where ``earlier``, whose weights are to go on, took its images in another way."""
    if apart := earlier.preprocessing.feeding_apart(preprocessing):
        name, was, now = apart
        raise ModelError(
            f"{earlier.name} takes images with {name} {was}, this run {now}: its weights would not fit; "
            "give the preset or architecture that it was trained with"
        )


def check_readable(paths: Iterable[Path]) -> None:
    """Raise DatasetError where an image that a training will need cannot be read."""
    files = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(READERS) as pool:
        reasons = [reason for reason in pool.map(_why_unreadable, files) if reason]
    if reasons:
        raise DatasetError(
            f"of {len(files)} images {len(reasons)} cannot be read: {reasons[0]} "
            "('video-events data check' names all)"
        )


def _why_unreadable(path: Path) -> str:
    try:
        datasets.read_image(path)
    except DatasetError as error:
        return str(error)
    return ""


def check_test(samples: Iterable[Sample], labels: Sequence[str]) -> None:
    """Raise DatasetError where a network of ``labels`` cannot be judged on the split ``test``."""
    found = {sample.label for sample in samples if sample.split == "test"}
    if not found:
        raise DatasetError("the split test, which is to be judged, holds no image; leave --test out")
    strangers = ", ".join(sorted(found - set(labels)))
    if strangers:
        raise DatasetError(f"test images have labels without training images: {strangers}")
