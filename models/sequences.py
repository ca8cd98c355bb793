"""Windows of consecutive frames, to train and judge models that see clips.

Frames lie in ``<root>/<video>/<frame>``, with ``<root>/labels.csv`` of the columns video, frame, label and
split. The number at the end of a frame's name tells its place in the video.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from models.datasets import Sample
from models.errors import DatasetError

LABELS = "labels.csv"
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One labelled frame; ``number`` rises by one from frame to frame of a ``video`` without holes."""

    path: Path
    video: str
    number: int
    label: str
    split: str


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive frames of one video, the oldest first.

    The label is that of the last frame: a window knows nothing of what comes after it, so that it can be
    judged the moment its last frame is there, live as well.
    """

    frames: tuple[VideoFrame, ...]

    @property
    def label(self) -> str:
        return self.frames[-1].label

    @property
    def split(self) -> str:
        return self.frames[-1].split

    @property
    def sample(self) -> Sample:
        """The last frame, which stands for the window in reports."""
        last = self.frames[-1]
        return Sample(last.path, last.label, last.split, last.video)


def has_videos(root: Path) -> bool:
    """Whether ``root`` holds frames of videos rather than a folder for each label."""
    return (root / LABELS).is_file()


def load_frames(root: Path) -> list[VideoFrame]:
    """All frames that ``root/labels.csv`` lists, by video and number.

    Raises DatasetError if it is missing or not as it should be, lists a frame that is not there or twice,
    or one whose name does not end in a number.
    """
    path = root / LABELS
    try:
        with path.open(newline="") as file:
            frames = [
                VideoFrame(
                    root / row["video"] / row["frame"],
                    row["video"],
                    _number(path, row["frame"]),
                    row["label"],
                    row["split"],
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} is not a CSV with columns video, frame, label, split: {error!r}"
        ) from error
    missing = [frame.path for frame in frames if not frame.path.is_file()]
    if missing or not frames:
        what = f"{len(missing)} frames that are not there, {missing[0]} first" if missing else "no frame"
        raise DatasetError(f"{path} lists {what}")
    frames.sort(key=lambda frame: (frame.video, frame.number))
    for one, other in pairwise(frames):
        if (one.video, one.number) == (other.video, other.number):
            raise DatasetError(f"{path} lists frame {one.number} of {one.video} twice")
    return frames


def _number(path: Path, name: str) -> int:
    found = _NUMBER.search(Path(name).stem)
    if found is None:
        raise DatasetError(
            f"{path}: {name!r} does not end in a number, which would tell its place; rename it to …-00001.jpg"
        )
    return int(found[1])


def windows(frames: Iterable[VideoFrame], length: int, stride: int = 1) -> list[Window]:
    """Every window of ``length`` frames of which each is ``stride`` after the one before it.

    None reaches over a hole in the numbers, into another video or another split; so a video gives
    (length - 1) · stride windows fewer than frames. Raises DatasetError unless both are 1 or more.
    """
    if length < 1 or stride < 1:
        raise DatasetError(f"a window needs a length and a stride of 1 or more, got {length} and {stride}")
    found = []
    reach = (length - 1) * stride
    for run in runs(frames):
        found += [Window(tuple(run[last - reach : last + 1 : stride])) for last in range(reach, len(run))]
    return found


def runs(frames: Iterable[VideoFrame]) -> list[list[VideoFrame]]:
    """The frames cut where a video or a split ends or a number is missing; expects them in order."""
    place = enumerate(frames)
    return [
        [frame for _, frame in group]
        for _, group in groupby(
            place, key=lambda item: (item[1].video, item[1].split, item[1].number - item[0])
        )
    ]


def of_split(items: Sequence[Window], split: str) -> list[Window]:
    """The windows of one split."""
    return [window for window in items if window.split == split]
