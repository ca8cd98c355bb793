"""The commands ``data …``, as a person gives them."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.data.frames import Clip, ClipFrame, extract_frames
from models.data.listing import open_listing
from service.cli import status_of


@pytest.fixture
def labelled(tmp_path: Path, write_video) -> Path:
    """Frames of two clips of 20 frames at 10 a second, labelled by timestamps; every second frame."""
    clips = [write_video("one.avi", 20), write_video("two.avi", 20)]
    (tmp_path / "times").mkdir()
    (tmp_path / "times" / "one.txt").write_text("0:00.5 - 0:01 bright\n")
    (tmp_path / "times" / "two.txt").write_text("0:01 - 0:02 bright  # the rest\n")
    out = tmp_path / "frames"
    arguments = ["data", "frames", *map(str, clips), "-o", str(out), "--every", "2"]
    assert status_of([*arguments, "--labels", str(tmp_path / "times")]) == 0
    return out


def test_frames_are_those_of_the_clip_with_the_labels_of_their_times(labelled: Path) -> None:
    """Each picture is the frame that its name says, its label that of the line its time falls in."""
    entries = open_listing(labelled).entries
    assert len(entries) == 20
    assert [e.path for e in entries][:2] == ["one/one_000000.jpg", "one/one_000002.jpg"]
    assert [e.path[-6:-4] for e in entries if (e.group, e.label) == ("one", "bright")] == ["06", "08"]
    assert [e.path[-6:-4] for e in entries if (e.group, e.label) == ("two", "bright")] == [
        f"{n:02}" for n in range(10, 20, 2)
    ]
    for entry in entries:
        image = cv2.imread(str(labelled / entry.path))
        assert image.mean() == pytest.approx(8 * int(entry.path[-6:-4]), abs=3)


def test_a_clip_without_timestamps_in_the_folder_of_them_is_told(
    tmp_path: Path, write_video, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is not quite the clip's would otherwise cost its labels without a word."""
    (tmp_path / "times").mkdir()
    (tmp_path / "times" / "ONE.txt").write_text("0:00 - 0:01 bright\n")
    clip, times = str(write_video("one.avi", 4)), str(tmp_path / "times")
    assert status_of(["data", "frames", clip, "-o", str(tmp_path / "out"), "--labels", times]) == 0
    told = capsys.readouterr().err
    assert "times has no one.txt, so one gets no labels" in told
    assert "no label " in told


def test_a_second_run_adds_its_videos_to_the_labels_of_the_first(
    labelled: Path, write_video, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training and validation videos are written one after the other; neither is lost, nor there twice."""
    clip = str(write_video("[three].avi", 4))
    times = str(labelled.parent / "times" / "one.txt")
    arguments = ["data", "frames", clip, "-o", str(labelled), "--labels", times, "--split", "valid"]
    assert status_of(arguments) == 0
    entries = open_listing(labelled).entries
    assert Counter((e.group, e.split) for e in entries) == {
        ("one", ""): 10,
        ("two", ""): 10,
        ("[three]", "valid"): 4,
    }
    assert status_of(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert status_of([*arguments, "--overwrite", "--every", "2"]) == 0
    assert Counter(e.group for e in open_listing(labelled).entries) == {"one": 10, "two": 10, "[three]": 2}
    assert len(list((labelled / "[three]").iterdir())) == 2
    assert status_of(["data", "frames", clip, "-o", str(labelled), "--overwrite"]) == 0  # without labels now
    assert Counter(e.group for e in open_listing(labelled).entries) == {"one": 10, "two": 10}


def test_a_bad_clip_costs_the_others_no_label(tmp_path: Path, write_video) -> None:
    """Hours of frames are not left without labels by what comes after them, be it a bad clip or Ctrl-C."""
    out, times = tmp_path / "out", tmp_path / "a.txt"
    times.write_text("0:00 - 0:01 bright\n")
    (tmp_path / "bad.avi").write_bytes(b"nothing")
    clips = [str(write_video("one.avi", 4)), str(tmp_path / "bad.avi")]
    assert status_of(["data", "frames", *clips, "-o", str(out), *["--labels", str(times)] * 2]) == 2
    assert [entry.group for entry in open_listing(out).entries] == ["one"] * 4

    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "one.avi").write_bytes(b"nothing")
    again = [str(tmp_path / "bad" / "one.avi"), "-o", str(out), "--labels", str(times), "--overwrite"]
    assert status_of(["data", "frames", *again]) == 2
    assert [entry.group for entry in open_listing(out).entries] == ["one"] * 4

    def interrupted() -> Iterator[ClipFrame]:
        yield ClipFrame(0, 0.0, np.zeros((8, 8, 3), np.uint8))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_frames([Clip("one", interrupted(), [])], out, overwrite=True)
    assert [(entry.path, entry.label) for entry in open_listing(out).entries] == [
        ("one/one_000000.jpg", "background")
    ]
    assert len(list((out / "one").iterdir())) == 1


def test_a_rate_chooses_the_first_frame_of_each_tick(tmp_path: Path, write_video) -> None:
    """From 10 frames a second, 4 a second are the frames at or after 0, 0.25, 0.5 and 0.75 s."""
    out = tmp_path / "out"
    assert status_of(["data", "frames", str(write_video("a.avi", 10)), "-o", str(out), "--fps", "4"]) == 0
    assert sorted(p.name[-6:-4] for p in out.rglob("*.jpg")) == ["00", "03", "05", "08"]
    assert not (out / "labels.csv").exists()


def test_a_damaged_clip_gives_what_can_be_decoded_and_status_3(
    tmp_path: Path, write_video, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames before the damage are kept, and a person is told that some are missing."""
    clip = write_video("cut.avi", 60)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    out = tmp_path / "out"
    assert status_of(["data", "frames", str(clip), "-o", str(out)]) == 3
    assert 10 < len(list(out.rglob("*.jpg"))) < 60
    assert "damaged or incomplete" in capsys.readouterr().err


def test_timestamps_to_frames_and_back(
    tmp_path: Path, write_video, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes back from the labels of all frames is what was written down."""
    times, labels = tmp_path / "a.txt", tmp_path / "labels.csv"
    times.write_text('00:00:00.5 - 00:00:01 serve\n00:00:01 - 00:00:01.8 rally, "long"\n')
    clip = str(write_video("clip.avi", 20))
    assert status_of(["data", "timestamps", str(times), "--clip", clip, "-o", str(labels)]) == 0
    with labels.open() as lines:
        assert Counter(row["label"] for row in csv.DictReader(lines)) == {
            "background": 7,
            "serve": 5,
            'rally, "long"': 8,
        }
    for frames in (["--fps", "10"], ["--clip", clip]):
        assert status_of(["data", "timestamps", str(labels), *frames]) == 0
        assert capsys.readouterr().out == times.read_text()


def test_lines_after_the_end_of_the_clip_are_told(
    tmp_path: Path, write_video, capsys: pytest.CaptureFixture[str]
) -> None:
    """They label no frame: the times of another clip, say, or of one that is cut off."""
    times, clip = tmp_path / "a.txt", str(write_video("clip.avi", 20))
    text = "0:01 - 0:09 long\n"
    late = "after the last frame, which is at 00:00:01.9: line 2 (00:00:12 - 00:00:13 serve)"
    frames = ["frames", clip, "-o", str(tmp_path / "out"), "--overwrite", "--labels", str(times)]
    for arguments, name in [
        (["timestamps", str(times), "--clip", clip], f"{times}"),
        (["timestamps", str(times), "--fps", "10", "--frames", "20"], f"{times}"),
        (frames, "timestamps of clip"),
    ]:
        for more, told in [
            ("", ""),
            ("0:12 - 0:13 serve\n", f"video-events: {name}: 1 line of 2 {late}\n"),
            (
                "0:12 - 0:13 serve\n1:00:00 - 1:00:01 b\n",
                f"video-events: {name}: 2 lines of 3 {late} first\n",
            ),
        ]:
            times.write_text(text + more)
            assert status_of(["data", *arguments]) == 0
            found = capsys.readouterr()
            assert "".join(line for line in found.err.splitlines(True) if "last frame" in line) == told
            assert "last frame" not in found.out


def test_timestamps_of_a_name_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The frames' names cannot be written as they are: a word says so, the file that is there is kept."""
    times, labels = tmp_path / "caf\udce9.txt", tmp_path / "labels.csv"
    times.write_text("00:00:00 - 00:00:01 rally\n")
    labels.write_text("kept")
    arguments = ["data", "timestamps", str(times), "--fps", "5", "--frames", "9", "-o", str(labels)]
    assert status_of([*arguments, "--overwrite"]) == 2
    assert "the video's name is not UTF-8; say --video" in capsys.readouterr().err
    assert labels.read_text() == "kept"
    assert status_of([*arguments, "--overwrite", "--video", "cafe"]) == 0
    assert labels.read_text().startswith("video,frame,label\ncafe,cafe_000000.jpg,rally\n")


def test_check_split_balance_and_sheets_work_on_what_frames_wrote(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tools fit together: each reads what the one before it wrote."""
    data = str(labelled)
    assert status_of(["data", "split", data, "--test-groups", "two"]) == 0
    assert {(e.group, e.split) for e in open_listing(labelled).entries} == {("one", "train"), ("two", "test")}
    assert status_of(["data", "split", data]) == 2
    assert "splits.csv exists" in capsys.readouterr().err
    by_share = ["data", "split", data, "--valid", "0.2", "--test", "0.2", "-o", str(tmp_path / "shares.csv")]
    assert status_of(by_share) == 0
    assert "no image for" in capsys.readouterr().err
    ignoring = ["data", "check", data, "--ignore", "near-duplicate,near-duplicate-label"]
    assert status_of(ignoring) == 0
    assert "nothing wrong" in capsys.readouterr().out
    (labelled / "one" / "one_000004.jpg").unlink()
    assert status_of([*ignoring, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"missing": 1}
    assert found["findings"][0]["paths"] == ["one/one_000004.jpg"]

    balanced = tmp_path / "balanced.csv"
    arguments = [
        "data",
        "balance",
        data,
        "-o",
        str(balanced),
        "--to",
        "max",
        "--copy",
        str(tmp_path / "copy"),
    ]
    assert status_of(arguments) == 0
    with balanced.open() as lines:
        rows = list(csv.DictReader(lines))
    assert Counter(r["label"] for r in rows if r["split"] == "train") == {"background": 8, "bright": 8}
    assert len(list((tmp_path / "copy").rglob("*.jpg"))) == 25  # one of the 26 is not there
    assert "1 image skipped" in capsys.readouterr().err

    assert status_of(["data", "sheet", data, "-o", str(tmp_path / "sheets"), "--tile", "40"]) == 0
    assert "4 pages" in capsys.readouterr().out


def test_thousands_of_findings_bury_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of each kind and their number are shown; a program gets them all."""
    (tmp_path / "a").mkdir()
    for number in range(40):
        cv2.imwrite(str(tmp_path / "a" / f"{number}.png"), np.full((8, 8), number, np.uint8))
    (tmp_path / "splits.csv").write_text("path,label\na/0.png,a\nb.png,b\n")
    assert status_of(["data", "check", str(tmp_path)]) == 1
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == "missing: b.png is not there"
    assert [line.partition(":")[0] for line in lines] == ["missing"] + ["unlisted"] * 11
    assert lines[-1] == "unlisted: … and 29 more; --json has all"
    assert "39 unlisted (images without a label)" in told.err
    assert status_of(["data", "check", str(tmp_path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 40


def test_named_groups_and_other_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No option is passed over beside named groups: --keep keeps, shares and images are refused."""
    (tmp_path / "splits.csv").write_text(
        "path,label,split,group\n0.png,a,test,g0\n1.png,a,,g0\n2.png,a,,g1\n3.png,a,,g2\n4.png,a,valid,\n"
    )
    new = tmp_path / "new.csv"
    arguments = ["data", "split", str(tmp_path), "-o", str(new), "--valid-groups"]
    assert status_of([*arguments, "g1", "--keep"]) == 0
    splits = [entry.split for entry in open_listing(tmp_path, new).entries]
    assert splits == ["test", "test", "valid", "train", "valid"]
    capsys.readouterr()
    for more, hint in [
        (["g0", "--keep"], "g0 is in test already"),
        (["g1,g7"], "no group g7; there are g0, g1, g2"),
        (["g1", "--valid", "0.2"], "by group or by share, not both"),
        (["g1", "--test", "0"], "by group or by share, not both"),
        (["g1", "--by-image"], "by group or by share, not both"),
    ]:
        assert status_of([*arguments, *more, "--overwrite"]) == 2
        assert hint in capsys.readouterr().err


@pytest.mark.parametrize("shares", [("0.9", "0.1"), ("0.7", "0.3")])
def test_a_list_may_leave_nothing_for_training(tmp_path: Path, shares: tuple[str, str]) -> None:
    """A collection that is only judged; what rounding leaves of 1 is no share."""
    rows = "".join(f"{n}.png,a\n" for n in range(20))
    (tmp_path / "splits.csv").write_text("path,label\n" + rows)
    arguments = ["data", "split", str(tmp_path), "--overwrite", "--valid", shares[0], "--test", shares[1]]
    assert status_of(arguments) == 0
    valid = round(20 * float(shares[0]))
    splits = Counter(entry.split for entry in open_listing(tmp_path).entries)
    assert splits == {"valid": valid, "test": 20 - valid}


def test_duplicates_are_listed_excluded_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The near copy of a test image leaves the training images of the new list; the old one stays."""
    root = tmp_path / "album"
    (root / "a").mkdir(parents=True)
    for number in range(4):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        picture = cv2.resize(coarse, (90, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "a" / f"{number}.png"), picture)
        if number == 2:
            cv2.imwrite(str(root / "a" / "copy.jpg"), picture)
    rows = [f"a/{n}.png,a,train" for n in range(4)] + ["a/copy.jpg,a,test"]
    (root / "splits.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    groups, kept = tmp_path / "groups.csv", tmp_path / "kept.csv"
    arguments = ["data", "duplicates", str(root), "-o", str(groups), "--exclude", str(kept)]
    assert status_of([*arguments, "--sheet", str(tmp_path / "sheet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": 5,
        "groups": 1,
        "in_groups": 2,
        "across_splits": 1,
        "across_labels": 0,
        "skipped": 0,
    }
    with groups.open() as lines:
        assert [row["path"] for row in csv.DictReader(lines)] == ["a/2.png", "a/copy.jpg"]
    with kept.open() as lines:
        assert {row["path"]: row["split"] for row in csv.DictReader(lines)}["a/2.png"] == "excluded"
    assert [p.name for p in (tmp_path / "sheet").iterdir()] == ["all_001.jpg"]


def test_import_makes_a_folder_to_train_on(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames with labels.csv become <label>/<group>_<index> with their splits."""
    assert status_of(["data", "import", str(labelled), "-o", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "bright" / "one_000006.jpg").is_file()
    assert "20 images" in capsys.readouterr().out


def test_mistakes_are_one_line_and_status_2(
    tmp_path: Path, write_video, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the arguments, a person reads one line that says what to do."""
    clip, text = str(write_video("a.avi")), tmp_path / "a.txt"
    text.write_text("0:00 - 0:01 a\n0:00 - 0:02 b\n")
    out = str(tmp_path / "out")
    for arguments, hint in [
        (["check", str(tmp_path / "nowhere")], "not a folder"),
        (["check", str(tmp_path), "--ignore", "holes"], "there are missing"),
        (["check", str(tmp_path), "--distance", "-1"], "Invalid value for '--distance'"),
        (["split", str(tmp_path)], "holds no images"),
        (["split", str(tmp_path), "--seed", "-1"], "Invalid value for '--seed'"),
        (["balance", str(tmp_path), "-o", out, "--seed", "-1"], "Invalid value for '--seed'"),
        (["frames", str(tmp_path / "no.mp4"), "-o", out], "no such file"),
        (["frames", clip, "-o", out, "--every", "0"], " --every 0: give --every a whole number from 1"),
        (["frames", clip, "-o", out, "--fps", "nan"], " --fps nan: give"),
        (["frames", clip, "-o", out, "--fps", "inf"], "or --fps a rate above 0"),
        (["frames", clip, "-o", out, "--fps", "4", "--every", "2"], " --every 2 --fps 4: give"),
        (["frames", "x" * 300 + ".mp4", "-o", out], "File name too long"),
        (["frames", clip, clip, "-o", out], "two clips are called a"),
        (["frames", clip, "-o", out, "--labels", str(text)], "line 1 (00:00:00 - 00:00:01 a) and line 2"),
        (["frames", clip, "-o", out, "--labels", clip, "--labels", clip], "2 files of timestamps for 1"),
        (["timestamps", str(text)], "--fps"),
        (["timestamps", str(text), "--fps", "5", "--frames", "-5"], "Invalid value for '--frames'"),
        (["timestamps", str(tmp_path / "no.csv"), "--fps", "5"], "cannot be read"),
        (["duplicates", str(tmp_path), "--bits", "128"], "64 or 256"),
        (["import", str(tmp_path), "-o", out], "holds no images"),
        (["sheet", str(tmp_path), "-o", out], "holds no images"),
        (["balance", str(tmp_path), "-o", out], "holds no images"),
    ]:
        assert status_of(["data", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert hint in error
        assert len(error.strip().splitlines()) == 1
