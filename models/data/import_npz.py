"""Turns arrays of images (``.npz``) with label CSVs into files that training reads."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data.images import Image, write_image
from models.data.listing import SPLITS_FILE, Entry, as_label, inside, refuse_to_overwrite, write_listing
from models.data.split import add_splits
from models.errors import DatasetError


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """How the label CSVs are to be read.

    ``column`` counts from 0. ``header``: whether the first line is one; None decides by the number of
    lines, which is that of the images or one more. ``names`` replaces what the column says.
    """

    column: int = 1
    header: bool | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def import_npz(
    arrays: Sequence[Path],
    labels: Sequence[Path],
    output: Path,
    *,
    layout: LabelColumn | None = None,
    key: str | None = None,
    fractions: Mapping[str, float] | None = None,
    split_of_group: Mapping[str, str] | None = None,
    seed: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Entry]:
    """Write ``output/<label>/<group>_<index>.png`` and ``output/splits.csv``; return its entries.

    Each ``.npz`` goes with the label CSV at the same place of ``labels``; its stem is the group. See
    ``read_images`` for its arrays. ``split_of_group`` puts whole groups into splits (the rest into
    ``train``); without it ``fractions`` divides at random, image by image (see ``add_splits``); without
    either all are for ``train``. Index 0 is the first image.

    Raises DatasetError, before anything is written, where images and labels do not fit together.
    """
    layout = layout or LabelColumn()
    groups = _groups(arrays, labels)
    unknown = sorted((split_of_group or {}).keys() - set(groups))
    if unknown:
        raise DatasetError(f"no group {', '.join(unknown)}; there are {', '.join(groups)}")
    refuse_to_overwrite(output, overwrite)
    tables = [
        read_labels(file, len(read_images(array, key)), layout)
        for array, file in zip(arrays, labels, strict=True)
    ]
    entries = [
        Entry(inside(f"{label}/{group}_{index:06d}.png"), label, "train", group)
        for group, table in zip(groups, tables, strict=True)
        for index, label in enumerate(table)
    ]
    if split_of_group:
        entries = [Entry(e.path, e.label, split_of_group.get(e.group, "train"), e.group) for e in entries]
    elif fractions:
        entries = add_splits(entries, fractions, seed=seed, by_group=False)
    done = 0
    for array in arrays:
        for image in read_images(array, key):
            stored = image if image.ndim == 2 else image[..., ::-1]
            write_image(output / entries[done].path, np.ascontiguousarray(stored))
            done += 1
            progress(done)
    write_listing(output / SPLITS_FILE, entries, overwrite=overwrite)
    return entries


def read_images(file: Path, key: str | None = None) -> Image:
    """The images of an ``.npz`` as (N, H, W) or (N, H, W, 3) ``uint8``, the latter RGB as stored.

    Accepts (N, H, W), one or three channels in front of H, W or behind them, as ``uint8`` or as floats
    between 0 and 1. ``key`` names the array if there are several. Raises DatasetError.
    """
    try:
        with file.open("rb") as data, np.load(data, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DatasetError(f"{file} is a single array; expected an .npz")
            names = archive.files
            if key is None and len(names) != 1:
                raise DatasetError(f"{file} has the arrays {', '.join(names)}; say which with --key")
            if key is not None and key not in names:
                raise DatasetError(f"{file} has no array {key!r}; there are {', '.join(names)}")
            array = archive[key or names[0]]
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{file} is not an .npz of images: {error}") from error
    return _as_uint8(file, _channels_last(file, array))


def _channels_last(file: Path, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if array.ndim == 4:
        if array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
            array = np.moveaxis(array, 1, 3)
        if array.shape[3] == 1:
            array = array[..., 0]
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3) or 0 in array.shape:
        raise DatasetError(
            f"{file} holds an array of shape {array.shape}; expected N×H×W, or N×H×W with one or three "
            "channels before H or after W"
        )
    return array


def _as_uint8(file: Path, array: npt.NDArray[np.generic]) -> Image:
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        values = np.asarray(array, np.float32)
        if np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1:
            return np.asarray(np.rint(values * 255), np.uint8)
    raise DatasetError(f"{file} holds {array.dtype}; expected uint8, or floats between 0 and 1")


def read_labels(file: Path, count: int, layout: LabelColumn) -> list[str]:
    """The labels of ``count`` images, one a line. Raises DatasetError with the number of the line."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as a CSV: {error}") from error
    header = len(rows) == count + 1 if layout.header is None else layout.header
    rows = rows[1:] if header else rows
    if len(rows) != count:
        raise DatasetError(f"{file} has {len(rows)} labels for {count} images; expected one line an image")
    labels = []
    for number, row in rows:
        if not 0 <= layout.column < len(row):
            raise DatasetError(
                f"{file}, line {number}: no column {layout.column} among {len(row)}, counted from 0"
            )
        text = row[layout.column].strip()
        try:
            labels.append(as_label(layout.names.get(text, text)))
        except DatasetError as error:
            raise DatasetError(f"{file}, line {number}: {error}") from error
    return labels


def _groups(arrays: Sequence[Path], labels: Sequence[Path]) -> list[str]:
    if not arrays or len(arrays) != len(labels):
        raise DatasetError(
            f"{len(arrays)} .npz and {len(labels)} label files; expected as many of each, in order"
        )
    groups = [array.stem for array in arrays]
    doubled = sorted({group for group in groups if groups.count(group) > 1})
    if doubled:
        raise DatasetError(f"several .npz are named {doubled[0]}; a file's name is its group, so rename one")
    return groups
