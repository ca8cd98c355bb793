"""Pictures to learn a label from: out of folders, clips and recordings, made small and uniform.

What is kept of a picture is a JPEG of at most 640 pixels a side: enough for any network here, and it can be
looked at, and embedded again when the network changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np

from models.data.listing import IMAGE_SUFFIXES, images_in
from service.errors import LearningError
from service.sources import open_source
from service.types import Image

FEWEST: Final = 5
MOST: Final = 100
FROM_RANGES: Final = 20
"""Frames taken of all ranges together."""
LONGEST_SIDE: Final = 640
QUALITY: Final = 95
SHORTEST_SIDE: Final = 16
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
_SECONDS: Final = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds ``start`` to ``end`` of a clip."""

    start: float
    end: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """``START-END``, each in seconds, ``mm:ss`` or ``h:mm:ss``. Raises LearningError.

        >>> Range.parse("1.5-1:02")
        Range(start=1.5, end=62.0)
        """
        start, dash, end = text.partition("-")
        try:
            found = cls(_seconds(start), _seconds(end))
        except ValueError:
            found = cls(0.0, 0.0)
        if not dash or not found.start < found.end:
            raise LearningError(
                f"{text!r} is not a time range; write START-END, for instance 12.5-15 or 1:02-1:09"
            )
        return found


@dataclass(frozen=True, slots=True)
class Example:
    """A picture to learn from, as JPEG, and where it is from, for people."""

    jpeg: bytes
    origin: str

    @classmethod
    def of(cls, image: Image, origin: str) -> Self:
        """Raises LearningError for an image that is too small to show anything."""
        height, width = image.shape[:2]
        if min(height, width) < SHORTEST_SIDE:
            raise LearningError(
                f"{origin} is {width}×{height} pixels; at least {SHORTEST_SIDE} a side are needed"
            )
        scale = LONGEST_SIDE / max(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not encoded:
            raise LearningError(f"{origin} cannot be stored as JPEG")
        return cls(data.tobytes(), origin)

    def image(self) -> Image:
        return read_jpeg(self.jpeg)


def gather(sources: Sequence[str]) -> list[Example]:
    """Examples from folders of images, single images, and clips as ``CLIP@START-END``.

    Raises LearningError or SourceError for what is not there, cannot be read, or is too much.
    """
    paths: list[Path] = []
    ranges: list[tuple[str, Range]] = []
    for text in sources:
        clip, at, seconds = text.rpartition("@")
        if Path(text).is_dir():
            paths += images_in(Path(text))
        elif Path(text).is_file() and Path(text).suffix.lower() in IMAGE_SUFFIXES:
            paths.append(Path(text))
        elif at and Path(clip).is_file():
            ranges.append((clip, Range.parse(seconds)))
        else:
            raise LearningError(
                f"--examples {text}: neither a folder of images, nor an image, "
                "nor CLIP@START-END of a clip that exists"
            )
    if len(paths) > MOST:
        raise LearningError(
            f"{len(paths)} images are more than the {MOST} that a label is learned from; "
            "choose 5 to 20 that differ, or train a model: video-events train"
        )
    examples = [decode(path.read_bytes(), str(path)) for path in paths]
    total = sum(span.end - span.start for _, span in ranges)
    for clip, span in ranges:
        share = (span.end - span.start) / total
        examples += frames_of(clip, [span], max(2, round(FROM_RANGES * share)))
    return examples


def decode(data: bytes, origin: str) -> Example:
    """Raises LearningError for what is no JPEG, PNG, WebP or BMP, or is damaged."""
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    image = None
    if is_webp or data.startswith(_MAGIC):
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
    if image is None:
        raise LearningError(f"{origin} is not an image that can be read (JPEG, PNG, WebP or BMP)")
    return Example.of(np.asarray(image, np.uint8), origin)


def frames_of(path: str, ranges: Sequence[Range], most: int) -> list[Example]:
    """At most ``most`` frames of a video file, evenly over the ranges. Raises SourceError, LearningError."""
    seconds = sum(span.end - span.start for span in ranges)
    name = Path(path).name
    found: list[Example] = []
    with open_source(path, source_id=name, allow_network=False) as source:
        step = max(seconds / most, 1 / source.properties.fps)
        wanted = sorted(_moments(ranges, step))
        end = max(span.end for span in ranges)
        while wanted and (frame := source.read()) is not None and frame.pts < end:
            if frame.pts + 1e-6 >= wanted[0]:
                found.append(Example.of(frame.image, f"{name}@{frame.pts:.2f}"))
                while wanted and frame.pts + 1e-6 >= wanted[0]:
                    wanted.pop(0)
    if not found:
        spans = ", ".join(f"{span.start:g}-{span.end:g}" for span in ranges)
        raise LearningError(f"{name} has no frames in the seconds {spans}")
    return found[:most]


def read_jpeg(data: bytes) -> Image:
    """An example as it was stored. Raises LearningError if it is damaged."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise LearningError("a stored example is damaged; remove the label and learn it again")
    return np.asarray(image, np.uint8)


def _moments(ranges: Sequence[Range], step: float) -> Iterator[float]:
    """The middles of equal parts of the ranges, in seconds."""
    for span in ranges:
        parts = max(1, math.floor((span.end - span.start) / step + 1e-6))
        part = (span.end - span.start) / parts
        yield from (span.start + part * (number + 0.5) for number in range(parts))


def _seconds(text: str) -> float:
    found = _SECONDS.fullmatch(text.strip())
    if not found:
        raise ValueError(text)
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds
