"""Labelled images on disk: which there are, and which split each belongs to."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from models.counted import counted
from models.data import images
from models.data.listing import BACKGROUND as BACKGROUND
from models.data.listing import (
    EXCLUDED,
    LABELS_FILE,
    SPLITS,
    SPLITS_FILE,
    Entry,
    folders_in,
    has_splits,
    images_in,
    no_images,
    read_listing,
    scan_folder,
)
from models.data.split import add_splits, judged_elsewhere
from models.errors import DatasetError

Image = images.Image


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image; ``split`` is ``train``, ``valid``, ``test`` or any name to leave it out.

    ``group`` is the video, camera or collection that it comes from, ``""`` where that is not known.
    """

    path: Path
    label: str
    split: str
    group: str = ""


def load_folder(
    root: Path,
    splits: Path | None = None,
    *,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 1,
    by_group: bool = False,
) -> list[Sample]:
    """Read ``root/<label>/<image>``, or what a CSV lists (see ``read_listing``) where there is one.

    ``splits`` defaults to ``root/splits.csv``, or else to ``root/labels.csv`` of videos' frames. Without such
    a file splits are folders, ``root/<split>/<label>/<image>`` (see ``has_splits``), or each label is divided
    at random but reproducibly by ``seed``, image by image or ``by_group``; a group is a folder below the
    label's. Raises DatasetError if nothing is found, a listed image is missing or a list has no splits.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected <label>/<image> inside it")
    lists = (root / SPLITS_FILE, root / LABELS_FILE)
    splits = splits or next((file for file in lists if file.is_file()), None)
    if splits is not None:
        return _read_splits(root, splits)
    if has_splits(root):
        found = scan_folder(root)
        return [Sample(found.file(one), one.label, one.split, one.group) for one in found.entries]
    samples = []
    for folder in folders_in(root):
        paths = images_in(folder)
        order = np.random.default_rng([seed, *os.fsencode(folder.name)]).permutation(len(paths))
        tests = round(test_fraction * len(paths))
        valids = round(valid_fraction * len(paths))
        for rank, index in enumerate(order):
            split = "test" if rank < tests else "valid" if rank < tests + valids else "train"
            group = paths[index].parent.relative_to(folder).as_posix()
            samples.append(Sample(paths[index], folder.name, split, "" if group == "." else group))
    if not samples:
        raise no_images(root)
    if by_group:
        train = 1 - (valid_fraction + test_fraction)
        shares = {"train": train, "valid": valid_fraction, "test": test_fraction}
        return divide(samples, shares, seed=seed, by_group=True)
    return samples


def divide(
    samples: Sequence[Sample], shares: Mapping[str, float], *, seed: int, by_group: bool
) -> list[Sample]:
    """``samples`` with new splits, of which each has about its share of every label (see ``add_splits``)."""
    entries = [Entry(str(sample.path), sample.label, "", sample.group) for sample in samples]
    divided = add_splits(entries, shares, seed=seed, by_group=by_group)
    return [replace(sample, split=entry.split) for sample, entry in zip(samples, divided, strict=True)]


def load_groups(
    root: Path, label: str, *, valid_groups: Iterable[str] = (), test_groups: Iterable[str] = ()
) -> list[Sample]:
    """Read ``root/<group>/<image>`` as one ``label``, split by whole groups.

    Images of one group (a camera, a collection) resemble each other, so a group is never divided.
    Raises DatasetError for a group that is not there.
    """
    split_of = dict.fromkeys(valid_groups, "valid") | dict.fromkeys(test_groups, "test")
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; expected <group>/<image> inside it")
    groups = {folder.name: folder for folder in folders_in(root)}
    unknown = sorted(split_of.keys() - groups.keys())
    if unknown:
        raise DatasetError(f"{root} has no group {', '.join(unknown)}; there are {', '.join(groups)}")
    samples = [
        Sample(path, label, split_of.get(name, "train"), name)
        for name, folder in groups.items()
        for path in images_in(folder)
    ]
    if not samples:
        raise no_images(root, "<group>/<image>")
    return samples


@dataclass(frozen=True, slots=True)
class Collection:
    """Where the images of a training or an evaluation lie.

    ``data`` is a folder of labels (see ``load_folder``). ``background`` is a folder of groups that
    become the class ``background``, of which ``valid_groups`` and ``test_groups`` are kept apart (see
    ``load_groups``). Every image of ``extra``, more folders of labels, is for training, except for those
    that a list leaves out there. ``by_group`` is as for ``load_folder``. Images that are in ``division``,
    that of an earlier run, are in its splits whatever else is said (see ``division_of``).
    """

    data: Path
    splits: Path | None = None
    background: Path | None = None
    valid_groups: tuple[str, ...] = ()
    test_groups: tuple[str, ...] = ()
    extra: tuple[Path, ...] = ()
    by_group: bool = False
    division: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def divided_as(
        cls,
        training: Mapping[str, Any],
        data: Path,
        splits: Path | None = None,
        background: Path | None = None,
    ) -> Self:
        """The images that a model was made from, in the splits of its training record.

        Records of earlier versions say only which groups of the background were kept apart.
        """
        groups = training.get("groups", {})
        valid, test = (tuple(groups.get(split, ())) for split in ("valid", "test"))
        return cls(data, splits, background, valid, test, division=training.get("division", {}))

    def load(self, labels: Sequence[str] | None = None, seed: int = 1) -> list[Sample]:
        """All samples, or those of ``labels``. Raises DatasetError for what is missing."""
        own, extra = self.load_apart(labels, seed)
        return own + extra

    def load_apart(
        self, labels: Sequence[str] | None = None, seed: int = 1
    ) -> tuple[list[Sample], list[Sample]]:
        """As ``load``, those of ``extra`` apart: they are for training however the others are divided."""
        own = load_folder(self.data, self.splits, seed=seed, by_group=self.by_group)
        if self.background is not None:
            own += load_groups(
                self.background, BACKGROUND, valid_groups=self.valid_groups, test_groups=self.test_groups
            )
        if self.division:
            own = as_divided(own, self.division)
        more = [sample for folder in self.extra for sample in load_folder(folder)]
        extra = [replace(sample, split="train") for sample in more if sample.split in SPLITS]
        if labels is None:
            return own, extra
        missing = sorted(set(labels) - {sample.label for sample in (*own, *extra)})
        if missing:
            raise DatasetError(f"{self.data} has no images of {', '.join(missing)}")
        return of_labels(own, labels), of_labels(extra, labels)


def divide_copies(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """``samples`` without copies, byte for byte, of images of a later split; and those copies.

    Training comes before validation and that before the test: what judges was not trained on.
    """
    images = [(_digest(one.path) if one.split in SPLITS else "", one.split) for one in samples]
    marked = list(zip(samples, judged_elsewhere(images), strict=True))
    return [one for one, is_copy in marked if not is_copy], [one for one, is_copy in marked if is_copy]


def division_of(samples: Iterable[Sample]) -> dict[str, str]:
    """Which images are in which split, to be stored: by split the digests of the files, spaces between.

    They are in the order of the files' paths. Raises DatasetError for a file that cannot be read.
    """
    digests: dict[str, list[str]] = {split: [] for split in SPLITS}
    for sample in sorted(samples, key=lambda sample: sample.path.absolute()):
        if sample.split in digests:
            digests[sample.split].append(_digest(sample.path))
    return {split: " ".join(found) for split, found in digests.items()}


def as_divided(samples: Iterable[Sample], division: Mapping[str, str]) -> list[Sample]:
    """``samples`` in the splits of ``division``, wherever their files lie now; others stay as they are.

    A file that is in several splits there was trained on, or else validated. What is left out of all splits
    stays so, and what would be in a split more often than it was then, as a copy, is left out too.
    """
    then = {split: Counter(digests) for split, digests in _digests_of(division).items()}
    split_of = {digest: split for split in reversed(SPLITS) for digest in then[split]}
    known = [(one, _digest(one.path) if one.split in SPLITS else "") for one in samples]
    missing = Counter({digest: then[split][digest] for digest, split in split_of.items()})
    missing.subtract(digest for one, digest in known if split_of.get(digest) == one.split)
    divided = []
    for one, digest in known:
        split = split_of.get(digest, one.split)
        if split != one.split:
            missing[digest] -= 1
            split = split if missing[digest] >= 0 else EXCLUDED
        divided.append(replace(one, split=split))
    return divided


def joint_division(divisions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The division of several trainings as one: an image that any of them was trained on was trained on.

    One that a training had in ``train`` and in another split too stays in both if that holds of all.
    """
    held = [_digests_of(each) for each in divisions]
    joint = {}
    for split in SPLITS:
        found = dict.fromkeys(digest for each in held for digest in each[split])
        seen_apart = {digest for each in held for digest in set(each["train"]) - set(each[split])}
        joint[split] = " ".join(digest for digest in found if digest not in seen_apart)
    return joint


def learnt_from(training: Mapping[str, Any]) -> dict[str, str]:
    """The division of a training record, validation images that the model learned from in ``train``."""
    division = dict(training.get("division", {}))
    if training.get("settings", {}).get("learn_valid"):
        both = (division.get("train", ""), division.pop("valid", ""))
        division["train"] = " ".join(digests for digests in both if digests)
    return division


def gone_on(division: Mapping[str, str], earlier: Mapping[str, Any]) -> dict[str, str]:
    """``division`` of a training that went on from a model, with what that had learned from in ``train`` too.

    ``earlier`` is that model's training record. Images of ``division`` itself stay where they are.
    """
    known = {digest for digests in _digests_of(division).values() for digest in digests}
    before = dict.fromkeys(_digests_of(learnt_from(earlier))["train"])
    train = (division.get("train", ""), *(digest for digest in before if digest not in known))
    return {**division, "train": " ".join(digests for digests in train if digests)}


def trained_on(samples: Iterable[Sample], division: Mapping[str, str]) -> list[Sample]:
    """Those of ``samples`` that are in the split ``train`` of ``division``.

    A copy that was in the sample's own split then too, such as a black frame, is not counted.
    """
    digests = {split: set(found) for split, found in _digests_of(division).items()}
    train = digests.pop("train")
    if not train:
        return []
    found = [(sample, _digest(sample.path)) for sample in samples]
    return [one for one, digest in found if digest in train and digest not in digests.get(one.split, ())]


def _digests_of(division: Mapping[str, str]) -> dict[str, list[str]]:
    """By split the digests of a division that ``division_of`` made, or of what is there of one."""
    return {split: division.get(split, "").split() for split in SPLITS}


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def _read_splits(root: Path, splits: Path) -> list[Sample]:
    listing = read_listing(splits, root)
    if not any(entry.split for entry in listing.entries):
        raise DatasetError(
            f"{splits} puts no image into a split; add a column split, or let 'video-events data split' do it"
        )
    samples = [
        Sample(listing.file(entry), entry.label, entry.split, entry.group) for entry in listing.entries
    ]
    missing = [sample.path for sample in samples if not sample.path.is_file()]
    if missing:
        raise DatasetError(f"{splits} lists {counted(len(missing), 'image')} not there, {missing[0]} first")
    return samples


def of_labels(samples: Iterable[Sample], labels: Sequence[str]) -> list[Sample]:
    return [sample for sample in samples if sample.label in labels]


def of_split(samples: Iterable[Sample], split: str) -> list[Sample]:
    return [sample for sample in samples if sample.split == split]


def counts(samples: Iterable[Sample]) -> dict[str, dict[str, int]]:
    """Number of images by split, then label."""
    table: dict[str, Counter[str]] = {}
    for sample in samples:
        table.setdefault(sample.split, Counter())[sample.label] += 1
    return {split: dict(sorted(row.items())) for split, row in table.items()}


def read_image(path: Path) -> Image:
    """Read an image, also one that is cut off, as H×W×3 ``uint8`` BGR; raises DatasetError."""
    try:
        str(path).encode()
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except UnicodeEncodeError:  # a name of which ``imread`` dies
        return images.read_image(path)
    except cv2.error:  # it claims to be larger than OpenCV takes
        image = None
    if image is None:
        raise DatasetError(f"{path} is not an image that OpenCV can read")
    return np.asarray(image, np.uint8)
