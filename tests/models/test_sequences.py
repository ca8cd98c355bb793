"""Windows of frames: the right ones, causal, and never over a cut."""

import csv
from itertools import pairwise
from pathlib import Path
from statistics import median_low

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DatasetError
from models.sequences import VideoFrame, load_frames, runs, windows


def frames_of(video: str, numbers: list[int], split: str = "train") -> list[VideoFrame]:
    return [
        VideoFrame(Path(video) / f"{n:05}.jpg", video, n, "seal" if n % 3 else "none", split) for n in numbers
    ]


def numbers_of(found) -> list[list[int]]:
    return [[frame.number for frame in window.frames] for window in found]


def test_every_window_is_judged_by_its_last_frame() -> None:
    """A model learns to say what is there now, from the past alone."""
    found = windows(frames_of("a", [1, 2, 3, 4]), 3)
    assert numbers_of(found) == [[1, 2, 3], [2, 3, 4]]
    assert [window.label for window in found] == ["none", "seal"]
    assert found[0].sample.path == Path("a/00003.jpg")


def test_stride_takes_every_nth_frame() -> None:
    """A window can reach further back without more frames."""
    found = windows(frames_of("a", [1, 2, 3, 4, 5, 6]), 3, stride=2)
    assert numbers_of(found) == [[1, 3, 5], [2, 4, 6]]


@settings(deadline=None)
@given(
    videos=st.lists(st.sets(st.integers(0, 30), max_size=20), max_size=3),
    length=st.integers(1, 5),
    stride=st.integers(1, 3),
)
def test_no_window_reaches_over_a_cut(videos: list[set[int]], length: int, stride: int) -> None:
    """All windows without a hole are there once, and no other; so a jump is never taken for motion."""
    frames = [frame for i, numbers in enumerate(videos) for frame in frames_of(f"v{i}", sorted(numbers))]
    found = {
        (window.frames[0].video, tuple(frame.number for frame in window.frames))
        for window in windows(frames, length, stride)
    }
    reach = (length - 1) * stride
    expected = set()
    for i, numbers in enumerate(map(sorted, videos)):
        hole = 2 * median_low([b - a for a, b in pairwise(numbers)] or [0])
        for last in range(reach, len(numbers)):
            part = numbers[last - reach : last + 1]
            if all(b - a < hole for a, b in pairwise(part)):
                expected.add((f"v{i}", tuple(part[::stride])))
    assert found == expected


def test_every_fifth_frame_of_a_video_is_a_video_of_its_own_pace() -> None:
    """``data frames --fps`` keeps the numbers of the clip, not always in the same step."""
    found = windows(frames_of("a", [0, 5, 10, 16, 21, 31, 36]) + frames_of("b", [7, 8, 9]), 3)
    assert numbers_of(found) == [[0, 5, 10], [5, 10, 16], [10, 16, 21], [7, 8, 9]]


def test_a_split_is_a_cut() -> None:
    """No frame of the training part is in a window of the test part."""
    frames = frames_of("a", [1, 2, 3]) + frames_of("a", [4, 5, 6], "test")
    assert [len(run) for run in runs(frames)] == [3, 3]
    assert {
        frame.split for window in windows(frames, 2) for frame in window.frames if window.split == "test"
    } == {"test"}


def write(root: Path, rows: list[list[str]], header: str = "video,frame,label,split") -> None:
    with (root / "labels.csv").open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)


def test_frames_are_read_in_their_order(tmp_path: Path) -> None:
    """The number counts, not the order of the lines, nor that of the letters."""
    (tmp_path / "a").mkdir()
    for number in (1, 2, 10):
        (tmp_path / "a" / f"f{number}.jpg").touch()
    write(tmp_path, [["a", f"f{number}.jpg", "x", "train"] for number in (10, 1, 2)])
    assert [frame.number for frame in load_frames(tmp_path)] == [1, 2, 10]
    assert numbers_of(windows(load_frames(tmp_path), 2)) == [[1, 2]]


def test_lists_are_read_as_the_data_tools_write_them(tmp_path: Path) -> None:
    """A spreadsheet's byte order mark and spaces do no harm; splits are also those of ``data split``."""
    (tmp_path / "a").mkdir()
    for number in (1, 2):
        (tmp_path / "a" / f"f{number}.jpg").touch()
    (tmp_path / "labels.csv").write_text("\ufeffvideo, frame, label\na, f1.jpg, x \na,f2.jpg,y\n", "utf-8")
    assert [(frame.label, frame.split) for frame in load_frames(tmp_path)] == [("x", ""), ("y", "")]
    (tmp_path / "splits.csv").write_text("path,label,split,group\na/f1.jpg,x,valid,a\na/f2.jpg,y,valid,a\n")
    assert [frame.split for frame in load_frames(tmp_path)] == ["valid", "valid"]
    write(tmp_path, [["a", "f1.jpg", "x", "test"], ["a", "f2.jpg", "y", ""]])
    assert [frame.split for frame in load_frames(tmp_path)] == ["test", "valid"]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], "video,frame,label,split", "lists no image"),
        ([["a", "f1.jpg", "x"]], "video,frame,split", "columns .* video, frame, label"),
        ([["f1.jpg", "x", "train"]], "path,label,split", "has no video"),
        ([["a", "f9.jpg", "x", "train"]], "video,frame,label,split", "lists 1 frame not there"),
        ([["a", "f.jpg", "x", "train"]], "video,frame,label,split", "'a/f.jpg' .* does not end in a number"),
        ([["a", "f1.jpg", "x", "train"]] * 2, "video,frame,label,split", "frame 1 of a twice"),
    ],
)
def test_bad_lists_are_explained(tmp_path: Path, rows: list[list[str]], header: str, message: str) -> None:
    """What is wrong with the data is said, with the file."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f1.jpg").touch()
    (tmp_path / "a" / "f.jpg").touch()
    write(tmp_path, rows, header)
    with pytest.raises(DatasetError, match=message):
        load_frames(tmp_path)


def test_impossible_windows_are_refused() -> None:
    """A window of nothing is a mistake."""
    with pytest.raises(DatasetError, match="got 0 and 1"):
        windows([], 0)
