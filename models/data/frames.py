"""Writes frames of clips as images, with labels where timestamps are given."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.data.images import Image, write_image
from models.data.listing import BACKGROUND, LABELS_FILE, as_label, read_rows, refuse_to_overwrite, write_rows
from models.data.timestamps import Span, after_the_end, label_at
from models.errors import DatasetError

_COLUMNS = ("video", "frame", "label", "split")
Row = tuple[str, str, str, str]
"""Video, frame, label, split."""


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A decoded frame: ``index`` from 0, ``pts`` in seconds, ``image`` H×W×3 BGR."""

    index: int
    pts: float
    image: Image


@dataclass(frozen=True, slots=True)
class Clip:
    """A video called ``name``, as its frames in order; ``spans`` None means without labels."""

    name: str
    frames: Iterable[ClipFrame]
    spans: Sequence[Span] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames: each ``every``-th, or ``fps`` a second (the first frame at or after each tick)."""

    every: int = 1
    fps: float | None = None

    def check(self) -> None:
        """Raises DatasetError for values that cannot work."""
        if self.every < 1 or (self.fps is not None and (not 0 < self.fps < math.inf or self.every != 1)):
            given = [] if self.every == 1 else [f"--every {self.every}"]
            given += [] if self.fps is None else [f"--fps {self.fps:g}"]
            raise DatasetError(
                f"{' '.join(given)}: give --every a whole number from 1 on, or --fps a rate above 0, not both"
            )


def extract_frames(
    clips: Iterable[Clip],
    output: Path,
    choice: Choice | None = None,
    *,
    outside: str = BACKGROUND,
    split: str = "",
    quality: int = 95,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Write ``output/<video>/<video>_<index>.jpg``; return rows of video, frame, label, split.

    ``index`` is that of the frame in the clip. Where a clip has spans the rows are written as ``labels.csv``
    too, beside those of other videos that it has, and frames outside its spans are labelled ``outside``. That
    is done clip by clip: what fails later costs none of it. With ``overwrite`` the frames and labels that a
    clip had before are gone. ``progress`` is told the number of frames read, ``tell`` of spans after the last
    of a clip. Raises DatasetError.
    """
    choice = choice or Choice()
    choice.check()
    as_label(outside)
    rows: list[Row] = []
    done = 0
    before = _rows_before(output / LABELS_FILE)
    for clip in clips:
        folder = output / as_label(clip.name)
        refuse_to_overwrite(folder, overwrite)
        if not overwrite and any(row["video"] == clip.name for row in before):
            raise DatasetError(f"{output / LABELS_FILE} has {clip.name} already; say --overwrite")
        former = before
        before = [row for row in before if row["video"] != clip.name]
        ticks = -1
        last = 0.0
        try:
            for frame in clip.frames:
                done += 1
                progress(done)
                last = frame.pts
                if choice.fps is not None:
                    # A microsecond of grace: 3/30 s may be a little less than 0.1.
                    tick = int((frame.pts + 1e-6) * choice.fps)
                    if tick <= ticks:
                        continue
                    ticks = tick
                elif frame.index % choice.every:
                    continue
                name = f"{clip.name}_{frame.index:06d}.jpg"
                write_image(folder / name, frame.image, quality=quality)
                label = "" if clip.spans is None else label_at(clip.spans, frame.pts, outside)
                rows.append((clip.name, name, label, split))
        finally:  # also where this clip ends in an error or with Ctrl-C
            written = {name for video, name, *_ in rows if video == clip.name}
            if written:
                for path in folder.glob(f"{glob.escape(clip.name)}_[0-9]*.jpg"):
                    if path.name not in written:
                        path.unlink()
            else:  # it could not be opened: what there was stays
                before = former
            _write_labels(output / LABELS_FILE, before, rows)
        if late := after_the_end(clip.spans or (), last):
            tell(f"timestamps of {clip.name}: {late}")
    return rows


def _rows_before(file: Path) -> list[dict[str, str]]:
    """What ``labels.csv`` has from earlier runs. Raises DatasetError if it is something else."""
    return [row for _, row in read_rows(file, _COLUMNS[:3])] if file.exists() else []


def _write_labels(file: Path, before: Sequence[dict[str, str]], rows: Iterable[Row]) -> None:
    """Write the ``rows`` that have a label after those of other videos, whose columns all stay."""
    kept = [*before, *(dict(zip(_COLUMNS, row, strict=True)) for row in rows if row[2])]
    if not kept and not file.exists():
        return
    columns = list(dict.fromkeys((*_COLUMNS, *(name for row in kept for name in row))))
    write_rows(file, columns, [[row.get(name, "") for name in columns] for row in kept], overwrite=True)
