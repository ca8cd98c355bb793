"""Windows of consecutive frames, to train and judge models that see clips.

Frames lie in ``<root>/<video>/<frame>``, with ``<root>/labels.csv`` of the columns video, frame, label and,
where there is one, split; a split that is not there is that of ``<root>/splits.csv``. The number at the end
of a frame's name tells its place in the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median_low

from models.counted import counted
from models.data.check import number_of
from models.data.listing import LABELS_FILE, SPLITS_FILE, Entry, read_listing
from models.datasets import Sample
from models.errors import DatasetError


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One labelled frame; ``number`` rises by one step from frame to frame of a ``video`` without holes."""

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


def load_frames(root: Path) -> list[VideoFrame]:
    """All frames that ``root/labels.csv`` lists, by video and number.

    Raises DatasetError if it is missing or not as it should be, lists a frame that is not there or twice,
    or one whose name does not end in a number.
    """
    path = root / LABELS_FILE
    entries = read_listing(path, root).entries
    splits = {}
    if (root / SPLITS_FILE).is_file() and not all(entry.split for entry in entries):
        splits = {entry.path: entry.split for entry in read_listing(root / SPLITS_FILE, root).entries}
    frames = [
        VideoFrame(
            root / entry.path,
            entry.group,
            _number(path, entry),
            entry.label,
            entry.split or splits.get(entry.path, ""),
        )
        for entry in entries
    ]
    missing = [frame.path for frame in frames if not frame.path.is_file()]
    if missing:
        raise DatasetError(f"{path} lists {counted(len(missing), 'frame')} not there, {missing[0]} first")
    frames.sort(key=lambda frame: (frame.video, frame.number))
    for one, other in pairwise(frames):
        if (one.video, one.number) == (other.video, other.number):
            raise DatasetError(f"{path} lists frame {one.number} of {one.video} twice")
    return frames


def _number(path: Path, entry: Entry) -> int:
    number = number_of(entry.path)
    if number is None or not entry.group:
        raise DatasetError(
            f"{path}: {entry.path!r} has no video, or does not end in a number, which would tell its place; "
            "rename it to <video>/…-00001.jpg"
        )
    return number


def windows(frames: Iterable[VideoFrame], length: int, stride: int = 1) -> list[Window]:
    """Every window of ``length`` frames of which each is ``stride`` after the one before it.

    None reaches over a hole in the numbers, into another video or another split (``runs``); so a video gives
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
    """The frames cut where a video or a split ends or a number is missing; expects them in order.

    Of every fifth frame of a video none is missing: its numbers are as far apart as they usually are, and
    only a gap of twice that is a hole.
    """
    found: list[list[VideoFrame]] = []
    for _, group in groupby(frames, key=lambda frame: frame.video):
        video = list(group)
        gaps = [later.number - frame.number for frame, later in pairwise(video)]
        hole = 2 * median_low(gaps) if gaps else 0
        found.append(video[:1])
        for gap, (frame, later) in zip(gaps, pairwise(video), strict=True):
            if gap >= hole or later.split != frame.split:
                found.append([])
            found[-1].append(later)
    return found


def of_split(items: Sequence[Window], split: str) -> list[Window]:
    """The windows of one split."""
    return [window for window in items if window.split == split]
