"""Contact sheets: pages of small pictures with captions, by group and label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from models.data.images import Image, Skipped, for_each, write_image
from models.data.listing import Entry, Listing, file_name, refuse_to_overwrite
from models.errors import DatasetError
from models.preprocessing import Fit, fit_image

CAPTION = 18
"""Pixels below a picture, for its caption."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``columns`` × ``rows`` pictures a page, each in a square of ``tile`` pixels.

    ``by`` are the fields (``label``, ``group``, ``split``) whose values share a sheet. Of more than
    ``limit`` pictures of a sheet that many are shown, evenly spread (0: all).
    """

    columns: int = 8
    rows: int = 6
    tile: int = 160
    by: tuple[str, ...] = ("group", "label")
    limit: int = 0

    def check(self) -> None:
        """Raises DatasetError for values that cannot work."""
        if not (1 <= self.columns <= 100 and 1 <= self.rows <= 100 and 16 <= self.tile <= 1024):
            raise DatasetError(
                f"{self.columns}×{self.rows} tiles of {self.tile} pixels: expected 1 to 100 and 16 to 1024"
            )
        strange = sorted(set(self.by) - {"label", "group", "split"})
        if strange or self.limit < 0:
            what = f"sheets by {', '.join(strange)}" if strange else f"a limit of {self.limit}"
            raise DatasetError(f"no {what}; there are label, group, split, and limits from 0 on")


@dataclass(frozen=True, slots=True)
class Sheets:
    """The pages written, and the images that could not be read."""

    pages: tuple[Path, ...]
    skipped: tuple[Skipped, ...]


def write_sheets(
    listing: Listing,
    output: Path,
    layout: Layout | None = None,
    *,
    caption: Callable[[Entry], str] = lambda entry: PurePosixPath(entry.path).stem,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Sheets:
    """Write ``output/<values>_<page>.jpg`` for each value of ``layout.by``. Raises DatasetError."""
    layout = layout or Layout()
    layout.check()
    refuse_to_overwrite(output, overwrite)
    sheets: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in listing.entries:
        sheets[tuple(str(getattr(entry, field)) for field in layout.by)].append(entry)
    pages: list[Path] = []
    skipped: list[Skipped] = []
    taken: set[str] = set()
    before = 0
    for key, entries in sheets.items():
        chosen = Listing(listing.root, tuple(_spread(entries, layout.limit)), listing.source)
        name = _file_name(key, taken)
        tiles = []
        number = 0
        for read in for_each(chosen, lambda entry, image: draw_tile(image, caption(entry), layout.tile)):
            progress(before + read.number + 1)
            if read.skipped is not None:
                skipped.append(read.skipped)
            elif read.result is not None:
                tiles.append(read.result)
            last = read.number + 1 == len(chosen.entries)
            if tiles and (last or len(tiles) == layout.columns * layout.rows):
                number += 1
                pages.append(output / f"{name}_{number:03d}.jpg")
                _write_page(pages[-1], tiles, layout.columns)
                tiles = []
        before += len(entries)
    return Sheets(tuple(pages), tuple(skipped))


def draw_tile(image: Image, caption: str, side: int) -> Image:
    """``image`` whole in a square of ``side`` pixels, with a line of text below."""
    tile = np.vstack([fit_image(image, side, side, Fit.LETTERBOX), np.zeros((CAPTION, side, 3), np.uint8)])
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.36
    text = caption.encode("ascii", "replace").decode()
    while text and cv2.getTextSize(text, font, scale, 1)[0][0] > side - 4:
        text = text[1:]  # the end of a name tells more than its beginning
    cv2.putText(tile, text, (2, side + CAPTION - 6), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)


def _spread(entries: Sequence[Entry], limit: int) -> Sequence[Entry]:
    if not limit or len(entries) <= limit:
        return entries
    return [entries[i * len(entries) // limit] for i in range(limit)]


def _file_name(key: tuple[str, ...], taken: set[str]) -> str:
    name = "_".join(file_name(value) for value in key if value) or "all"
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique


def _write_page(path: Path, tiles: Sequence[Image], columns: int) -> None:
    columns = min(columns, len(tiles))
    full = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    rows = [np.hstack(full[start : start + columns]) for start in range(0, len(full), columns)]
    write_image(path, np.vstack(rows), quality=88)
