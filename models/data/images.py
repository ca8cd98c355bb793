"""Reads images and notices those that are cut off, which OpenCV would fill with grey."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from models.data.listing import Entry, Listing
from models.errors import DatasetError

Image = npt.NDArray[np.uint8]
Result = TypeVar("Result")

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""Of a JPEG, but those that stand among the pixels: escaped bytes and restarts."""
_PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Read(Generic[Result]):
    """What ``for_each`` made of an entry; ``result`` is None where it could not be read."""

    number: int
    entry: Entry
    result: Result | None
    skipped: Skipped | None


def read_image(path: Path, *, gray: bool = False) -> Image:
    """Read an image as H×W×3 BGR, or H×W, ``uint8``. Raises DatasetError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    if _is_cut_off(data):
        raise DatasetError(f"{path} is cut off after {len(data)} bytes")
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        )
    except cv2.error:  # an empty file, or one that claims to be larger than OpenCV takes
        image = None
    if image is None:
        raise DatasetError(f"{path} is not an image that OpenCV can read")
    return np.asarray(image, np.uint8)


def _is_cut_off(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; cameras put padding, or a short video, after it."""
    if data.startswith(b"\x89P"):
        return _PNG_END not in data
    return data.startswith(b"\xff\xd8") and not _has_jpeg_end(data)


def _has_jpeg_end(data: bytes) -> bool:
    """Go from segment to segment (ITU-T T.81, annex B): thumbnails within one have ends of their own."""
    place = 2
    while (marker := _MARKER.search(data, place)) is not None:
        if marker[1] == b"\xd9":
            return True
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return False


def write_image(path: Path, image: Image, *, quality: int = 95) -> None:
    """Write an H×W or H×W×3 BGR image as its suffix says; ``quality`` is that of a JPEG.

    Raises DatasetError.
    """
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    try:
        encoded, data = cv2.imencode(
            path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality] if is_jpeg else []
        )
    except cv2.error:
        encoded = False
    if not encoded:
        size = f"{image.shape[1]}×{image.shape[0]} pixels"
        raise DatasetError(f"cannot write {path}: OpenCV does not store {size} in this format")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror}") from error


def for_each(
    listing: Listing,
    work: Callable[[Entry, Image], Result],
    *,
    gray: bool = False,
    workers: int = 4,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Read[Result]]:
    """``work`` done on every image, in order, in ``workers`` threads; what cannot be read is skipped."""

    def one(numbered: tuple[int, Entry]) -> Read[Result]:
        number, entry = numbered
        try:
            image = read_image(listing.file(entry), gray=gray)
        except DatasetError as error:
            return Read(number, entry, None, Skipped(entry.path, str(error)))
        return Read(number, entry, work(entry, image), None)

    with ThreadPoolExecutor(workers) as pool:
        # Some thousands at a time: a map over all would hold as many results as there are images.
        for start in range(0, len(listing.entries), 2048):
            part: Sequence[Entry] = listing.entries[start : start + 2048]
            for read in pool.map(one, enumerate(part, start)):
                yield read
                progress(read.number + 1)
