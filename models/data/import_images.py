"""Copies images of any listing into the one form that training reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from models.data.check import number_of
from models.data.images import Skipped, for_each
from models.data.listing import SPLITS_FILE, Entry, Listing, file_name, refuse_to_overwrite, write_listing
from models.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Imported:
    """The entries of the new folder, and the images that could not be read."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


def import_images(
    listing: Listing,
    output: Path,
    *,
    default_split: str = "train",
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Imported:
    """Copy images to ``output/<label>/<group>_<index><suffix>`` and write ``output/splits.csv``.

    The bytes of the images stay the same. The index is the number at the end of the file's name where
    these differ within the group, else the place in the group; an image without a group is
    ``<label>_<index>``. ``default_split`` is for entries without one. An image that is listed several
    times is copied as often. Raises DatasetError for what cannot be written.
    """
    refuse_to_overwrite(output, overwrite)
    names = _new_names(listing.entries)
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    for read in for_each(listing, lambda _, image: image.shape, progress=progress):
        if read.skipped is not None:
            skipped.append(read.skipped)
            continue
        target = output / names[read.number]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(listing.file(read.entry).read_bytes())
        except OSError as error:
            raise DatasetError(f"cannot write {target}: {error.strerror}") from error
        entries.append(replace(read.entry, path=names[read.number], split=read.entry.split or default_split))
    if not entries:
        raise DatasetError(f"{listing.source} lists no image that can be read")
    write_listing(output / SPLITS_FILE, entries, overwrite=overwrite)
    return Imported(tuple(entries), tuple(skipped))


def _new_names(entries: Sequence[Entry]) -> list[str]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        groups[_stem(entry)].append(place)
    names = [""] * len(entries)
    for stem, places in groups.items():
        numbers = [number_of(entries[place].path) for place in places]
        differ = None not in numbers and max(Counter(numbers).values()) == 1
        for rank, (place, number) in enumerate(zip(places, numbers, strict=True)):
            entry = entries[place]
            suffix = PurePosixPath(entry.path).suffix.lower()
            names[place] = f"{entry.label}/{stem}_{number if differ else rank:06d}{suffix}"
    return names


def _stem(entry: Entry) -> str:
    return file_name(entry.group or entry.label) or "group"
