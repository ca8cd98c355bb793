"""Which images there are, with label, split and group: from a folder, ``splits.csv`` or ``labels.csv``."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.counted import counted
from models.errors import DatasetError

BACKGROUND = "background"
IMAGE_SUFFIXES = frozenset({".bmp", ".jfif", ".jpeg", ".jpg", ".png", ".webp"})
OTHER_SUFFIXES = frozenset({".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff"})
"""Of pictures that are not read: not everywhere OpenCV can, or only some kinds of them."""
SPLITS = ("train", "valid", "test")
EXCLUDED = "excluded"
"""The split of what is left out of all of them."""
_SPLIT_OF = {split: split for split in SPLITS} | {"val": "valid", "validation": "valid"}
"""By what people call it, in small letters."""

SPLITS_FILE = "splits.csv"
"""Columns path, label and, where there are such, split and group."""
LABELS_FILE = "labels.csv"
"""Columns video, frame, label and, where there is one, split: the image is ``<video>/<frame>``."""
GROUP = "group"
"""The column of groups, unless another is named."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image. ``path`` is relative to the root, with ``/``.

    ``split`` is ``train``, ``valid``, ``test`` or any name to leave it out, ``""`` where there is none.
    ``group`` is what may not be divided (a video, a camera), ``""`` for an image on its own.
    """

    path: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Images below ``root``; ``source`` is where the list was read, for messages."""

    root: Path
    entries: tuple[Entry, ...]
    source: Path

    def file(self, entry: Entry) -> Path:
        return self.root / entry.path


def open_listing(data: Path, file: Path | None = None, *, group_column: str = GROUP) -> Listing:
    """Read the list ``file`` of the images in ``data``.

    Without ``file`` it is ``data/splits.csv``, else ``data/labels.csv``, else the images themselves as
    ``data/<label>/<image>``, each folder a label, or ``data/<split>/<label>/<image>``.
    Raises DatasetError for what cannot be read.
    """
    if not data.is_dir():
        raise DatasetError(
            f"{data} is not a folder; expected one with {SPLITS_FILE} or <label>/<image> in it"
        )
    for name in (SPLITS_FILE, LABELS_FILE) if file is None else ():
        if (data / name).is_file():
            return read_listing(data / name, data, group_column=group_column)
    if file is not None:
        return read_listing(file, data, group_column=group_column)
    if group_column != GROUP:
        raise DatasetError(f"{data} has no list, and so no column {group_column!r} of groups")
    return scan_folder(data)


def images_in(folder: Path) -> list[Path]:
    """All images in ``folder`` and below, by name, without what is hidden."""
    return _files(folder, IMAGE_SUFFIXES)


def other_pictures_in(folder: Path) -> list[Path]:
    """All pictures in ``folder`` and below, by name, whose formats are not read."""
    return _files(folder, OTHER_SUFFIXES)


def folders_in(folder: Path) -> list[Path]:
    """The folders in ``folder``, by name, without hidden ones."""
    return [path for path in _visible(folder, "*") if path.is_dir()]


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    found = _visible(folder, "**/*")
    return [path for path in found if path.suffix.lower() in suffixes and not path.is_dir()]


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Paths without a part that begins with a dot: what macOS leaves in a copy, or a notebook in a folder."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def scan_folder(root: Path) -> Listing:
    """All images of ``root/<label>/`` and below, by name, or of ``root/<split>/<label>/`` (``has_splits``).

    A group is a folder below the label's.
    """
    entries = []
    for part in folders_in(root) if has_splits(root) else [root]:
        split = "" if part == root else _SPLIT_OF[part.name.lower()]
        for folder in folders_in(part):
            for path in images_in(folder):
                group = path.parent.relative_to(folder).as_posix()
                name = path.relative_to(root).as_posix()
                entries.append(Entry(name, folder.name, split, "" if group == "." else group))
    if not entries:
        raise no_images(root)
    return Listing(root, tuple(entries), root)


def has_splits(root: Path) -> bool:
    """Whether the folders in ``root`` are no labels but two splits or more, each with folders of labels."""
    folders = folders_in(root)
    are_splits = len(folders) > 1 and all(folder.name.lower() in _SPLIT_OF for folder in folders)
    return are_splits and not any(path.parent == folder for folder in folders for path in images_in(folder))


def no_images(root: Path, wanted: str = "<label>/<image>") -> DatasetError:
    """What is said of a folder without images, or with some that are in no folder of their own."""
    loose = sum(path.parent == root for path in images_in(root))
    found = f"{counted(loose, 'image')}, but none in a folder of its own" if loose else "no images"
    suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
    return DatasetError(f"{root} holds {found}; expected {wanted} with {suffixes}")


def read_listing(file: Path, root: Path, *, group_column: str = GROUP) -> Listing:
    """Read a CSV of columns path, label[, split][, group], or video, frame, label[, split].

    Splits may be called ``val`` or ``validation`` too, in letters of any case. Of the second form the group
    is the video. Any other ``group_column`` than ``group`` has to be there. Paths may not lead out of
    ``root``. The images themselves need not be there. Raises DatasetError with the number of the line.
    """
    entries = []
    for number, row in read_rows(file, ("path", "label"), ("video", "frame", "label")):
        if group_column not in row and group_column != GROUP:
            raise DatasetError(f"{file} has no column {group_column!r}; there are {', '.join(row)}")
        of_video = "path" not in row and group_column == GROUP
        path = row["path"] if "path" in row else f"{row['video']}/{row['frame']}"
        try:
            entries.append(
                Entry(
                    inside(path),
                    as_label(row["label"]),
                    _SPLIT_OF.get(row.get("split", "").lower(), row.get("split", "")),
                    row["video"] if of_video else row.get(group_column, ""),
                )
            )
        except DatasetError as error:
            raise DatasetError(f"{file}, line {number}: {error}") from error
    if not entries:
        raise DatasetError(f"{file} lists no image")
    return Listing(root, tuple(entries), file)


def read_rows(file: Path, *columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV with a header that has all of one of the sets of ``columns``.

    Cells are stripped. Raises DatasetError for another header and for rows of another length.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            header = [name.strip() for name in next(reader, [])]
            if not any(set(names) <= set(header) for names in columns):
                wanted = " or ".join(", ".join(names) for names in columns)
                raise DatasetError(f"{file} is not a CSV with columns {wanted}; its first line has {header}")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DatasetError(
                        f"{file}, line {reader.line_num}: {len(cells)} cells, but {len(header)} columns"
                    )
                yield reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as a CSV: {error}") from error


def write_listing(file: Path, entries: Iterable[Entry], *, overwrite: bool = False) -> None:
    """Write columns path, label, split, group; see ``refuse_to_overwrite``."""
    rows = [[entry.path, entry.label, entry.split, entry.group] for entry in entries]
    write_rows(file, ("path", "label", "split", "group"), rows, overwrite=overwrite)


def write_rows(
    file: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, overwrite: bool = False
) -> None:
    """Write a CSV as a whole or not at all. Raises DatasetError where that fails."""
    refuse_to_overwrite(file, overwrite)
    unfinished = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        unfinished.replace(file)
    except OSError as error:
        raise DatasetError(f"cannot write {file}: {error.strerror}") from error
    except UnicodeEncodeError as error:
        row = error.object.strip()
        raise DatasetError(f"cannot write {file}: {row!r} is not UTF-8; rename what is called so") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def refuse_to_overwrite(path: Path, overwrite: bool) -> None:
    """Raise DatasetError for a file that exists or a folder that is not empty, unless ``overwrite``."""
    if overwrite or not path.exists():
        return
    if not path.is_dir():
        raise DatasetError(f"{path} exists; choose another name, or say --overwrite")
    if any(path.iterdir()):
        raise DatasetError(f"{path} is not empty; choose another folder, or say --overwrite")


def inside(path: str) -> str:
    """``path`` without ``.`` and ``..``; raises DatasetError if it is absolute or leads out of its root."""
    clean = os.path.normpath(path) if path else ""
    if not clean or "\0" in clean or clean == "." or clean.split("/")[0] == ".." or os.path.isabs(clean):
        raise DatasetError(f"{path!r} is not a path inside the folder of the images")
    return str(PurePosixPath(clean))


def file_name(text: str) -> str:
    """``text`` as the name of a file or folder, which no ``/`` or ``..`` in it leads elsewhere.

    >>> file_name("../camera 1/a"), file_name("npz-1")
    ('-camera-1-a', 'npz-1')
    """
    return re.sub(r"[^\w.-]+", "-", text).lstrip(".")


def as_label(text: str) -> str:
    """``text``, if it can name a label and its folder; raises DatasetError otherwise."""
    if not text or text in (".", "..") or any(sign in "/\\" or ord(sign) < 32 for sign in text):
        raise DatasetError(f"{text!r} cannot name a label; use letters, digits, spaces, '_' and '-'")
    return text
