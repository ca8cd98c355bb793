"""The images of an experiment, in the splits that it asks for."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.datasets import Sample, counts, of_split
from models.errors import DatasetError, ExperimentError
from models.experiments.experiment import Experiment
from models.experiments.samples import (
    check_readable,
    check_test,
    load_groups,
    load_samples,
    tell_unread,
    without_copies,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two labels with twenty empty files each, of which a fifth is for the test; two cameras."""
    return folder_of(tmp_path / "data", 20, ["train", "train", "train", "valid", "test"], ["cam1", "cam2"])


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Ten more images of each label, some from the first camera, one of five left out by its list."""
    return folder_of(tmp_path / "more", 10, ["test", "valid", "train", "train", "excluded"], ["cam1", "cam9"])


def folder_of(root: Path, count: int, splits: list[str], groups: list[str]) -> Path:
    rows = ["path,label,split,group"]
    for label in ("blue", "red"):
        (root / label).mkdir(parents=True)
        for number in range(count):
            (root / label / f"{number}.png").touch()
            split, group = splits[number % len(splits)], groups[number % len(groups)]
            rows.append(f"{label}/{number}.png,{label},{split},{group}")
    (root / "splits.csv").write_text("\n".join(rows) + "\n")
    return root


def test_a_share_for_validation_leaves_the_test_alone(data: Path) -> None:
    """The images that judged an earlier run are no training images of the next."""
    before = of_split(load_samples(Experiment(data=data), 1), "test")
    samples = load_samples(Experiment(data=data, valid_fraction=0.25), 1)
    assert sorted(of_split(samples, "test"), key=str) == sorted(before, key=str)
    assert counts(samples)["valid"] == {"blue": 4, "red": 4}
    samples = load_samples(Experiment(data=data, valid_fraction=0.25, test_fraction=0.25), 1)
    assert {split: sum(row.values()) for split, row in counts(samples).items()} == {
        "train": 20,
        "valid": 10,
        "test": 10,
    }
    with pytest.raises(ExperimentError, match="leave nothing to train on"):
        load_samples(Experiment(data=data, valid_fraction=0.5, test_fraction=0.5), 1)


@pytest.mark.parametrize(
    "how", [{}, {"valid_fraction": 0.2}, {"valid_fraction": 0.2, "test_fraction": 0.2}, {"leave_out": "cam2"}]
)
def test_extra_images_are_for_training_however_the_rest_is_divided(
    data: Path, more: Path, how: dict[str, object]
) -> None:
    """All but those that their list leaves out."""
    samples = load_samples(Experiment.of({"data": data, "extra": [more], **how}), 1)
    extra = [sample for sample in samples if sample.path.is_relative_to(more)]
    assert {sample.split for sample in extra} == {"train"}
    assert len(extra) == 16


def test_a_blind_test_sees_no_extra_image_of_its_group(data: Path, more: Path) -> None:
    """Nor are groups left out in turn that only the extra images have."""
    experiment = Experiment(data=data, extra=(more,), leave_out="cam1")
    seen = [sample for sample in load_samples(experiment, 1) if sample.split != "test"]
    assert {sample.group for sample in seen} == {"cam2", "cam9"}
    assert load_groups(experiment) == ("cam1", "cam2")


def test_images_without_groups_cannot_be_divided_by_them(data: Path, tmp_path: Path) -> None:
    """Rather than image by image without a word; folders below the labels are groups."""
    (data / "splits.csv").unlink()
    with pytest.raises(ExperimentError, match="<label>/<group>/<image>"):
        load_samples(Experiment(data=data, split_by="group"), 1)
    for label in ("blue", "red"):
        for number in range(20):
            path = tmp_path / "grouped" / label / f"cam{number % 5}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    samples = load_samples(Experiment(data=tmp_path / "grouped", split_by="group"), 1)
    assert len({(sample.group, sample.split) for sample in samples}) == 5


def test_what_judges_is_not_trained_on_under_another_name(tmp_path: Path) -> None:
    """Nor as another label; equal files within a split, and those of no split, are nobody's business."""
    rows = [("train", b"1"), ("train", b"1"), ("train", b"2"), ("valid", b"2"), ("valid", b"3")]
    rows += [("test", b"3"), ("test", b"4"), ("excluded", b"4"), ("train", b"5")]
    samples = []
    for number, (split, content) in enumerate(rows):
        (tmp_path / f"{number}.png").write_bytes(content)
        samples.append(Sample(tmp_path / f"{number}.png", f"label {number % 2}", split))
    again = Sample(tmp_path / "6.png", "label 0", "train")
    told: list[str] = []
    kept = without_copies([*samples, again], told.append)
    assert [int(sample.path.stem) for sample in kept] == [0, 1, 3, 5, 6, 7, 8]
    assert len(told) == 1
    assert "left out: 3 images" in told[0]
    assert without_copies(kept, told.append) == kept
    assert len(told) == 1


def test_pictures_that_are_no_images_of_a_training_are_told(data: Path, more: Path) -> None:
    """With how many there are, wherever they lie; those that a list names are read."""
    told: list[str] = []
    experiment = Experiment(data=data, extra=(more,))
    tell_unread(experiment, [], told.append)
    assert told == []
    paths = [data / "red" / "1.tiff", data / "violet" / "1.heic", more / "2.GIF"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    tell_unread(experiment, [Sample(paths[0], "red", "train")], told.append)
    assert [line.split(";")[0] for line in told] == [
        f"not read: 2 pictures of other formats, {paths[1]} first"
    ]


def test_images_that_cannot_be_read_are_told_before_training(tmp_path: Path) -> None:
    """With how many there are; each is read once, however often it is listed."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    cv2.imwrite(str(good), np.zeros((4, 4, 3), np.uint8))
    bad.write_bytes(b"hello")
    check_readable([good, good])
    with pytest.raises(DatasetError, match=r"of 2 images 1 cannot be read: .*bad\.png is not an image"):
        check_readable([good, bad, bad])


@pytest.mark.parametrize(
    ("label", "split", "message"),
    [("red", "valid", "holds no image"), ("pink", "test", "without training images: pink")],
)
def test_what_cannot_be_judged_is_told_before_training(label: str, split: str, message: str) -> None:
    """Hours later it would be too late."""
    with pytest.raises(DatasetError, match=message):
        check_test([Sample(Path("1.png"), label, split)], ["blue", "red"])
    check_test([Sample(Path("1.png"), "red", "test")], ["blue", "red"])


def test_named_groups_of_the_background_stay_apart_whatever_is_divided(data: Path, tmp_path: Path) -> None:
    """Pictures of one camera are never on both sides; and labels that are chosen do not drop it."""
    for group in ("street", "room", "field"):
        (tmp_path / "everyday" / group).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "everyday" / group / f"{number}.png").touch()
    experiment = Experiment(
        data=data, background=tmp_path / "everyday", valid_groups=("street",), test_groups=("room",)
    )
    for how in ({}, {"valid_fraction": 0.2, "test_fraction": 0.2}, {"labels": ("blue", "red")}):
        samples = load_samples(experiment.model_copy(update=how), 1)
        assert {(one.group, one.split) for one in samples if one.label == "background"} == {
            ("street", "valid"),
            ("room", "test"),
            ("field", "train"),
        }
    with pytest.raises(ExperimentError, match="leave_out decides"):
        load_samples(experiment.model_copy(update={"leave_out": "cam1"}), 1)
