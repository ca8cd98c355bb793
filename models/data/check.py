"""Looks for what is wrong with labelled images before a training does."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from models.data.duplicates import DEFAULT_DISTANCE, Duplicates, group_hashes
from models.data.hashes import difference_hash
from models.data.images import Skipped, for_each
from models.data.listing import SPLITS, Entry, Listing, images_in, other_pictures_in

KINDS = {
    "missing": "labels without an image",
    "unreadable": "images that cannot be read",
    "other-format": "pictures of formats that are not read; JPEG and PNG are",
    "unlisted": "images without a label",
    "listed-twice": "images with several labels or splits",
    "hole": "holes in the numbering of a group",
    "one-class": "groups with one label only",
    "absent-label": "splits without images of a label",
    "divided-group": "groups in several splits",
    "near-duplicate": "near-duplicates in several splits",
    "near-duplicate-label": "near-duplicates with several labels",
}
"""What can be found, and what it means."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``kind`` is one of KINDS, ``paths`` the images concerned."""

    kind: str
    message: str
    paths: tuple[str, ...] = ()


def check(
    listing: Listing,
    *,
    ignore: Collection[str] = (),
    distance: int | None = None,
    workers: int = 4,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Finding]:
    """Everything that is wrong, but what ``ignore`` names, in the order of KINDS.

    Near-duplicates are judged by the 256-bit difference hash and ``distance``. Only images of train,
    valid and test are compared across splits.
    """
    findings = [*_check_files(listing), *_check_groups(listing), *_check_splits(listing)]
    unreadable, duplicates = _read_all(listing, distance, workers, progress)
    findings += [Finding("unreadable", one.reason, (one.path,)) for one in unreadable]
    for kind, groups, what in (
        ("near-duplicate", duplicates.across_splits(), "splits"),
        ("near-duplicate-label", duplicates.across_labels(), "labels"),
    ):
        for group in groups:
            entries = [member.entry for member in group]
            if what == "labels" and len({entry.group or entry.path for entry in entries}) == 1:
                continue  # within a video the label changes from one frame to the next that looks like it
            values = sorted({entry.split if what == "splits" else entry.label for entry in entries} - {""})
            message = f"{len(group)} near-duplicates in {what} {', '.join(values)}"
            findings.append(Finding(kind, message, tuple(entry.path for entry in entries)))
    order = list(KINDS)
    kept = [finding for finding in findings if finding.kind not in ignore]
    return sorted(kept, key=lambda finding: order.index(finding.kind))


def _read_all(
    listing: Listing, distance: int | None, workers: int, progress: Callable[[int], None]
) -> tuple[list[Skipped], Duplicates]:
    present = tuple(entry for entry in listing.entries if listing.file(entry).is_file())
    there = Listing(listing.root, present, listing.source)
    unreadable, entries, hashes = [], [], []
    for read in for_each(
        there, lambda _, image: difference_hash(image), gray=True, workers=workers, progress=progress
    ):
        if read.skipped is not None:
            unreadable.append(read.skipped)
        elif read.result is not None:
            entries.append(read.entry)
            hashes.append(read.result)
    bits = DEFAULT_DISTANCE[256] if distance is None else distance
    return unreadable, Duplicates(group_hashes(entries, hashes, bits), tuple(unreadable))


def _check_files(listing: Listing) -> Iterator[Finding]:
    by_path: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for entry in listing.entries:
        by_path[entry.path].add((entry.label, entry.split))
    for path, values in by_path.items():
        if not (listing.root / path).is_file():
            yield Finding("missing", f"{path} is not there", (path,))
        if len(values) > 1:
            shown = " and ".join(f"{label} ({split or 'no split'})" for label, split in sorted(values))
            yield Finding("listed-twice", f"{path} is {shown}", (path,))
    for file in other_pictures_in(listing.root):
        path = file.relative_to(listing.root).as_posix()
        if path not in by_path:
            yield Finding("other-format", f"{path} is not read", (path,))
    for file in images_in(listing.root):
        path = file.relative_to(listing.root).as_posix()
        if path not in by_path:
            yield Finding("unlisted", f"{path} has no label", (path,))


def _check_groups(listing: Listing) -> Iterator[Finding]:
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in listing.entries:
        if entry.group:
            groups[entry.group].append(entry)
    for group, entries in groups.items():
        splits = sorted({entry.split for entry in entries} & set(SPLITS))
        if len(splits) > 1:
            yield Finding("divided-group", f"{group} is in {', '.join(splits)}")
        labels = {entry.label for entry in entries}
        if len(labels) == 1:
            yield Finding("one-class", f"all {len(entries)} images of {group} are {labels.pop()}")
        yield from _check_numbering(group, entries)


def _check_numbering(group: str, entries: list[Entry]) -> Iterator[Finding]:
    """Numbers at the end of names should be one step apart, the step that most of them are apart."""
    numbers = sorted({number for entry in entries if (number := number_of(entry.path)) is not None})
    steps = [later - number for number, later in pairwise(numbers)]
    if not steps:
        return
    usual = min(Counter(steps).most_common(), key=lambda pair: (-pair[1], pair[0]))[0]
    for number, step in zip(numbers, steps, strict=False):
        if step != usual:
            missing = step // usual - 1
            what = f"{missing} missing" if missing > 0 else "closer than the others"
            yield Finding("hole", f"{group}: after {number} comes {number + step}, {what}")


def number_of(path: str) -> int | None:
    """The number at the end of a file's name without its suffixes; None if there is none.

    >>> number_of("a/clip_000012.jpg"), number_of("a/b.png")
    (12, None)
    """
    match = re.search(r"(\d{1,18})$", PurePosixPath(path).stem)
    return int(match[1]) if match else None


def _check_splits(listing: Listing) -> Iterator[Finding]:
    counts = Counter((entry.split, entry.label) for entry in listing.entries)
    splits = [split for split in SPLITS if any(used == split for used, _ in counts)]
    for split in splits:
        for label in sorted({entry.label for entry in listing.entries if entry.split in SPLITS}):
            if not counts[split, label]:
                yield Finding("absent-label", f"{split} has no image of {label}")
