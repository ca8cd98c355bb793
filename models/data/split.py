"""Adds splits to labelled images without ever dividing a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.data.listing import SPLITS, Entry
from models.errors import DatasetError


def add_splits(
    entries: Sequence[Entry],
    fractions: Mapping[str, float],
    *,
    seed: int = 1,
    by_group: bool = True,
    keep: bool = False,
) -> list[Entry]:
    """Give every entry a split: about ``fractions`` of each label's images, in the order of ``entries``.

    A group goes into one split as a whole; an image without a group is a group of its own, and every
    image is with ``by_group`` off, however often it is listed. Entries of any other split than train, valid
    and test count for nothing and stay as they are. The largest groups are placed first, each where its
    labels are missing most (after Sechidis et al., 2011, "On the Stratification of Multi-label Data"). A
    split whose fraction is above 0 gets at least one group where there are enough. ``keep`` leaves entries
    alone that have a split, and puts the rest of their group into it. The same input and ``seed`` give the
    same splits.

    Raises DatasetError for fractions that are not between 0 and 1 or do not sum to 1, and, with
    ``keep``, for a group, or an image that is listed more than once, that is divided already.
    """
    _check_fractions(fractions)
    divided = iter(_divided([one for one in entries if takes_part(one)], fractions, seed, by_group, keep))
    return [next(divided) if takes_part(entry) else entry for entry in entries]


def split_by_name(
    entries: Sequence[Entry], split_of_group: Mapping[str, str], *, keep: bool = False
) -> list[Entry]:
    """Give every entry the split that ``split_of_group`` names for its group, else ``train``.

    ``keep`` and entries of other splits are as for ``add_splits``. Raises DatasetError for a group that is
    not there and, with ``keep``, for one that is in another split already.
    """
    known = sorted({entry.group for entry in entries} - {""})
    missing = sorted(split_of_group.keys() - set(known))
    if missing:
        raise DatasetError(f"no group {', '.join(missing)}; there are {', '.join(known)}")
    kept = {entry.group: entry.split for entry in entries if keep and entry.group and entry.split in SPLITS}
    for group, split in split_of_group.items():
        if kept.get(group, split) != split:
            raise DatasetError(f"{group} is in {kept[group]} already; without --keep it goes into {split}")
    chosen = {**split_of_group, **kept}
    return [
        replace(entry, split=chosen.get(entry.group, "train"))
        if takes_part(entry) and not (keep and entry.split)
        else entry
        for entry in entries
    ]


def takes_part(entry: Entry) -> bool:
    """Whether an entry may be divided: not one of any other split, such as ``excluded``."""
    return entry.split in ("", *SPLITS)


def _divided(
    entries: Sequence[Entry], fractions: Mapping[str, float], seed: int, by_group: bool, keep: bool
) -> list[Entry]:
    names = _group_names(entries, by_group)
    members: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        members.setdefault(name, []).append(number)
    chosen = _kept(entries, members) if keep else {}
    free = sorted(name for name in members if name not in chosen)
    order = np.random.default_rng(seed).permutation(len(free))
    queue = sorted((free[i] for i in order), key=lambda name: -len(members[name]))

    totals = Counter(entry.label for entry in entries)
    wanted = {split: {label: share * totals[label] for label in totals} for split, share in fractions.items()}
    for name, split in chosen.items():
        _take(wanted, split, entries, members[name])
    possible = [split for split in fractions if fractions[split] > 0]
    filled = set(chosen.values())
    for place, name in enumerate(queue):
        empty = [split for split in possible if split not in filled]
        candidates = empty if len(queue) - place <= len(empty) else possible
        counts = Counter(entries[number].label for number in members[name])
        split = max(
            candidates,
            key=lambda split: sum(
                count * wanted[split].get(label, 0.0) / totals[label] for label, count in counts.items()
            ),
        )
        chosen[name] = split
        filled.add(split)
        _take(wanted, split, entries, members[name])
    return [replace(entry, split=chosen[name]) for entry, name in zip(entries, names, strict=True)]


def _group_names(entries: Sequence[Entry], by_group: bool) -> list[str]:
    """The name of what each entry may not be parted from; that of an image has its first place."""
    places: dict[str, int] = {}
    for number, entry in enumerate(entries):
        places.setdefault(entry.path, number)
    return [
        f"group {entry.group}" if by_group and entry.group else f"image {places[entry.path]:09d}"
        for entry in entries
    ]


def _take(
    wanted: dict[str, dict[str, float]], split: str, entries: Sequence[Entry], numbers: Sequence[int]
) -> None:
    if split in wanted:  # not so for one that is kept but has no share
        for number in numbers:
            wanted[split][entries[number].label] -= 1


def _kept(entries: Sequence[Entry], members: Mapping[str, Sequence[int]]) -> dict[str, str]:
    chosen = {}
    for name, numbers in members.items():
        splits = sorted({entries[number].split for number in numbers} - {""})
        if len(splits) > 1:
            what = name if name.startswith("group ") else entries[numbers[0]].path
            raise DatasetError(f"{what} is divided already, among {', '.join(splits)}")
        if splits:
            chosen[name] = splits[0]
    return chosen


def _check_fractions(fractions: Mapping[str, float]) -> None:
    unknown = sorted(fractions.keys() - set(SPLITS))
    if unknown:
        raise DatasetError(f"no split {', '.join(unknown)}; there are {', '.join(SPLITS)}")
    if not all(0 <= share <= 1 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        shares = ", ".join(f"{split} {share:g}" for split, share in fractions.items())
        raise DatasetError(f"fractions must lie between 0 and 1 and sum to 1; got {shares}")


def judged_elsewhere(images: Sequence[tuple[Hashable, str]]) -> list[bool]:
    """For each of ``images``, what tells it from others and its split: whether it is in a later split too.

    Training comes before validation and that before the test.

    >>> judged_elsewhere([("a", "train"), ("a", "test"), ("b", "train"), ("b", "excluded")])
    [True, False, False, False]
    """
    rank = {split: number for number, split in enumerate(SPLITS)}
    last: dict[Hashable, int] = {}
    for image, split in images:
        if split in rank:
            last[image] = max(rank[split], last.get(image, 0))
    return [split in rank and rank[split] < last[image] for image, split in images]
