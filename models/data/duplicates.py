"""Finds groups of duplicates and near-duplicates among images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.data.hashes import Hashes, difference_hash, near_pairs
from models.data.images import Skipped, for_each
from models.data.listing import EXCLUDED, Entry, Listing
from models.data.split import judged_elsewhere

DEFAULT_DISTANCE = {64: 3, 256: 18}
"""Bits that two near-duplicates may differ in, by the length of the hash."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a group; ``distance`` in bits to the nearest other image of it."""

    entry: Entry
    distance: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Groups of images that are alike, each image in one group at most.

    A group holds whatever is joined by near pairs, so its outermost images may be further apart.
    """

    groups: tuple[tuple[Member, ...], ...]
    skipped: tuple[Skipped, ...]

    def across_splits(self) -> list[tuple[Member, ...]]:
        """Groups with images in more than one of train, valid and test."""
        return [group for group in self.groups if len(_splits(group)) > 1]

    def across_labels(self) -> list[tuple[Member, ...]]:
        return [group for group in self.groups if len({member.entry.label for member in group}) > 1]


def find_duplicates(
    listing: Listing,
    *,
    bits: int = 256,
    distance: int | None = None,
    workers: int = 4,
    progress: Callable[[int], None] = lambda done: None,
) -> Duplicates:
    """Group the images of ``listing`` by difference hash; see ``models.data.hashes``."""
    hashes, entries, skipped = [], [], []
    for read in for_each(
        listing,
        lambda _, image: difference_hash(image, bits),
        gray=True,
        workers=workers,
        progress=progress,
    ):
        if read.result is None:
            skipped.append(read.skipped)
        else:
            hashes.append(read.result)
            entries.append(read.entry)
    groups = group_hashes(entries, hashes, DEFAULT_DISTANCE[bits] if distance is None else distance)
    return Duplicates(groups, tuple(one for one in skipped if one is not None))


def group_hashes(
    entries: Sequence[Entry], hashes: Sequence[Hashes], distance: int
) -> tuple[tuple[Member, ...], ...]:
    """Groups of ``entries`` whose ``hashes`` are at most ``distance`` apart, in the order of the entries.

    A path that is listed twice counts once.
    """
    first_of = {entry.path: number for number, entry in reversed(list(enumerate(entries)))}
    chosen = sorted(first_of.values())
    if len(chosen) < 2:
        return ()
    # Equal hashes are one: a thousand equal images are not half a million pairs.
    different, where = np.unique(np.stack([hashes[i] for i in chosen]), axis=0, return_inverse=True)
    where = where.reshape(-1)
    pairs = near_pairs(different, distance)
    root = _join(len(different), pairs)
    nearest = np.full(len(different), np.iinfo(np.int64).max)
    for column in (0, 1):
        np.minimum.at(nearest, pairs[:, column], pairs[:, 2])
    nearest[np.bincount(where, minlength=len(different)) > 1] = 0
    groups: dict[int, list[Member]] = {}
    for number, place in zip(chosen, where, strict=True):
        groups.setdefault(int(root[place]), []).append(Member(entries[number], int(nearest[place])))
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def exclude_copies(entries: Iterable[Entry], duplicates: Duplicates) -> list[Entry]:
    """``entries`` with the split ``excluded`` for training images that are near copies of others' images.

    An image for validation is excluded likewise where a near copy of it is for the test. An image that is
    listed more than once is a copy of itself.
    """
    group_of = {
        member.entry.path: number for number, group in enumerate(duplicates.groups) for member in group
    }
    entries = list(entries)
    out = judged_elsewhere([(group_of.get(entry.path, entry.path), entry.split) for entry in entries])
    return [
        replace(entry, split=EXCLUDED) if leaves else entry
        for entry, leaves in zip(entries, out, strict=True)
    ]


def _splits(group: Iterable[Member]) -> set[str]:
    return {member.entry.split for member in group} & {"train", "valid", "test"}


def _join(count: int, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each of ``count`` things the smallest that ``pairs`` join it with (union-find)."""
    root = list(range(count))

    def find(one: int) -> int:
        while root[one] != one:
            root[one] = one = root[root[one]]
        return one

    for first, second in pairs[:, :2].tolist():
        low, high = sorted((find(first), find(second)))
        root[high] = low
    return np.array([find(one) for one in range(count)], np.int64)
