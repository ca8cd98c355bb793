"""Which images there are, how they are split, and the batches made of them."""

import os
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.augmentation import mixed
from models.batches import Batches
from models.data.listing import open_listing
from models.datasets import (
    Collection,
    Sample,
    as_divided,
    counts,
    division_of,
    load_folder,
    load_groups,
    of_split,
    read_image,
    trained_on,
)
from models.errors import DatasetError


def _claiming(png: bytes, side: int) -> bytes:
    """``png`` with another size in its header, whose checksum is right."""
    header = b"IHDR" + side.to_bytes(4) * 2 + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4) + png[33:]


def same(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image


def noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image // 2 + rng.integers(0, 100, image.shape, np.uint8)


def test_random_splits_are_stratified_and_reproducible(color_folder: Path) -> None:
    """Without a splits file each label is divided alike, and again alike the next time."""
    samples = load_folder(color_folder, seed=3)
    table = counts(samples)
    assert table == {
        "train": {"blue": 14, "green": 14, "red": 14},
        "valid": {"blue": 2, "green": 2, "red": 2},
        "test": {"blue": 4, "green": 4, "red": 4},
    }
    assert samples == load_folder(color_folder, seed=3)
    assert samples != load_folder(color_folder, seed=4)


def test_splits_file_is_binding(color_folder: Path, tmp_path: Path) -> None:
    """What the file calls excluded is in no split."""
    splits = tmp_path / "splits.csv"
    splits.write_text(
        "path,label,split\nred/00.png,red,train\nred/01.png,red,excluded\nblue/02.png,blue,test\n"
    )
    samples = load_folder(color_folder, splits)
    assert [len(of_split(samples, name)) for name in ("train", "valid", "test")] == [1, 0, 1]


def test_the_validation_split_may_be_called_as_elsewhere(color_folder: Path, tmp_path: Path) -> None:
    """Whole lists are called so by other tools; none of their images is left out without a word."""
    splits = tmp_path / "splits.csv"
    splits.write_text(
        "path,label,split\nred/00.png,red,Train\nred/01.png,red,val\nblue/02.png,blue,validation\n"
    )
    samples = load_folder(color_folder, splits)
    assert [len(of_split(samples, name)) for name in ("train", "valid", "test")] == [1, 2, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label,split\nred/99.png,red,train\n", "not there"),
        ("a,b\n1,2\n", "columns"),
        ("path,label,split\n", "no image"),
        ("path,label\nred/00.png,red\n", "data split"),
    ],
)
def test_bad_splits_files_are_explained(
    color_folder: Path, tmp_path: Path, content: str, message: str
) -> None:
    """A splits file that does not fit the folder stops the work before it begins."""
    splits = tmp_path / "splits.csv"
    splits.write_text(content)
    with pytest.raises(DatasetError, match=message):
        load_folder(color_folder, splits)


def test_groups_are_never_divided(group_folder: Path) -> None:
    """Images of one camera are all in one split, or the test would be too easy."""
    samples = load_groups(group_folder, "background", valid_groups=["room"], test_groups=["field"])
    assert {(s.path.parent.name, s.split) for s in samples} == {
        ("street", "train"),
        ("room", "valid"),
        ("field", "test"),
    }
    with pytest.raises(DatasetError, match=r"no group attic; there are field, room, street"):
        load_groups(group_folder, "background", test_groups=["attic"])


def test_empty_and_missing_folders_are_explained(tmp_path: Path) -> None:
    """The message says what layout is expected."""
    with pytest.raises(DatasetError, match="<label>/<image>"):
        load_folder(tmp_path)
    with pytest.raises(DatasetError, match="not a folder"):
        load_folder(tmp_path / "nowhere")


def test_images_in_no_folder_are_not_overlooked(tmp_path: Path) -> None:
    """Whoever looks into the folder sees them: the message says what is wrong with them."""
    (tmp_path / "1.png").touch()
    for read in (load_folder, open_listing):
        with pytest.raises(DatasetError, match="holds 1 image, but none in a folder of its own; expected"):
            read(tmp_path)


def test_folders_of_splits_are_no_labels(tmp_path: Path) -> None:
    """``train/cat/1.png`` and ``val/cat/2.png``, as many data sets come, are of one label and two splits."""
    for name in ("train/cat/1.png", "train/dog/home/2.png", "val/cat/3.png", "Test/dog/4.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    found = [("4", "dog", "test", ""), ("1", "cat", "train", ""), ("2", "dog", "train", "home")]
    found.append(("3", "cat", "valid", ""))
    assert [(one.path.stem, one.label, one.split, one.group) for one in load_folder(tmp_path)] == found
    entries = open_listing(tmp_path).entries
    assert [(one.path[-5], one.label, one.split, one.group) for one in entries] == found
    (
        tmp_path / "train" / "5.png"
    ).touch()  # so it is a label after all, as is what has other folders beside it
    assert {one.label for one in load_folder(tmp_path)} == {"Test", "train", "val"}
    (tmp_path / "train" / "5.png").unlink()
    (tmp_path / "bus").mkdir()
    assert {one.label for one in load_folder(tmp_path)} == {"Test", "train", "val"}


def test_collection_joins_its_parts(color_folder: Path, group_folder: Path) -> None:
    """Background joins as a label, extra folders join the training images only."""
    collection = Collection(
        color_folder, background=group_folder, test_groups=("field",), extra=(color_folder,)
    )
    table = counts(collection.load())
    assert table["train"] == {"background": 20, "blue": 34, "green": 34, "red": 34}
    assert table["test"] == {"background": 10, "blue": 4, "green": 4, "red": 4}
    assert set(counts(collection.load(["red"]))["train"]) == {"red"}
    with pytest.raises(DatasetError, match="no images of pink"):
        collection.load(["pink"])


def test_a_folder_below_a_label_is_a_group(tmp_path: Path) -> None:
    """As for the commands about data; on request no group is divided."""
    for label in ("blue", "red"):
        for number in range(30):
            path = tmp_path / label / f"cam{number % 10}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "red" / "single.png").touch()
    samples = load_folder(tmp_path, by_group=True)
    assert {sample.group for sample in samples} == {"", *(f"cam{number}" for number in range(10))}
    sides = {(sample.group, sample.split) for sample in samples if sample.group}
    assert len(sides) == 10
    assert {split for _, split in sides} == {"train", "valid", "test"}
    assert len({(sample.group, sample.split) for sample in load_folder(tmp_path)}) > 20


@pytest.mark.parametrize(("valid", "test"), [(0.9, 0.1), (0.7, 0.3)])
def test_shares_that_add_up_to_all_leave_nothing_for_training(
    color_folder: Path, valid: float, test: float
) -> None:
    """Neither less than nothing nor an image for what is left by rounding."""
    samples = load_folder(color_folder, valid_fraction=valid, test_fraction=test, by_group=True)
    assert {split: len(of_split(samples, split)) for split in ("train", "valid", "test")} == {
        "train": 0,
        "valid": round(60 * valid),
        "test": round(60 * test),
    }


def test_what_a_list_leaves_out_of_an_extra_folder_is_not_trained_on(
    color_folder: Path, tmp_path: Path
) -> None:
    """All else in it is for training, whatever split the list there says."""
    rows = "red/00.png,red,test\nred/01.png,red,excluded\nred/02.png,red,valid\n"
    (tmp_path / "splits.csv").write_text("path,label,split\n" + rows)
    (tmp_path / "red").symlink_to(color_folder / "red")
    _, extra = Collection(color_folder, extra=(tmp_path,)).load_apart()
    assert {sample.path.name: sample.split for sample in extra} == {"00.png": "train", "02.png": "train"}


def test_images_are_in_the_splits_of_the_run_that_had_them(color_folder: Path, tmp_path: Path) -> None:
    """Whatever another folder or list says, no training image gets into the test; new ones stay."""
    splits = {"00": "train", "01": "valid", "02": "test"}
    run = [Sample(color_folder / "red" / f"{number}.png", "red", split) for number, split in splits.items()]
    (tmp_path / "red").mkdir()
    for number in ("00", "01", "02", "03"):
        copy = tmp_path / "red" / f"copy-{number}.png"
        copy.write_bytes((color_folder / "red" / f"{number}.png").read_bytes())
    rows = [f"red/copy-{number}.png,red,test" for number in ("00", "01", "02", "03")]
    (tmp_path / "splits.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    record = {"division": division_of([*run, run[0], Sample(run[0].path, "red", "test")])}
    samples = Collection.divided_as(record, tmp_path).load()
    assert [sample.split for sample in samples] == ["train", "valid", "test", "test"]
    assert {sample.split for sample in Collection.divided_as({}, tmp_path).load()} == {"test"}


def test_copies_that_a_run_left_out_stay_out(color_folder: Path) -> None:
    """Or a model would be judged on more images later than by its own training."""
    red = color_folder / "red"
    run = [Sample(red / "00.png", "red", "train"), Sample(red / "01.png", "red", "test")]
    listed = [
        *(Sample(red / "01.png", "red", split) for split in ("train", "excluded", "test")),
        *(Sample(red / "00.png", "red", split) for split in ("valid", "excluded", "test")),
    ]
    divided = as_divided(listed, division_of(run))
    expected = ["excluded", "excluded", "test", "train", "excluded", "excluded"]
    assert [sample.split for sample in divided] == expected


def test_batches_repeat_for_the_same_seed_and_epoch(color_folder: Path) -> None:
    """A resumed run sees the views that an uninterrupted one would have seen."""
    samples = load_folder(color_folder)
    labels = ("blue", "green", "red")
    first = Batches(samples, labels, noisy, batch_size=16, shuffle=True, seed=2)
    before = first[1]
    first.on_epoch_end()
    resumed = Batches(samples, labels, noisy, batch_size=16, shuffle=True, seed=2, first_epoch=1)
    np.testing.assert_array_equal(first[1][0], resumed[1][0])
    np.testing.assert_array_equal(first[1][1], resumed[1][1])
    assert not np.array_equal(before[0], first[1][0])


def test_batches_cover_every_image_once(color_folder: Path) -> None:
    """The last, smaller batch is not lost, and softened labels still sum to one."""
    samples = load_folder(color_folder)
    batches = Batches(
        samples, ("blue", "green", "red"), same, batch_size=16, shuffle=True, label_smoothing=0.1
    )
    parts = [batches[number] for number in range(len(batches))]
    targets = np.concatenate([part[1] for part in parts])
    assert [len(part[0]) for part in parts] == [16, 16, 16, 12]
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert np.bincount(targets.argmax(axis=1)).tolist() == [20, 20, 20]


def test_mixed_batches_keep_the_shares_of_their_images() -> None:
    """Of plain colours the mean pixel tells the share of each, which the targets must say too."""
    images = np.zeros((8, 20, 20, 3), np.uint8)
    images[:, :, :, :] = np.eye(3, dtype=np.uint8)[np.arange(8) % 3][:, None, None] * 200
    targets = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    blended = covered = 0
    for seed in range(40):
        pixels, shares = mixed(images, targets, np.random.default_rng(seed))
        assert pixels.dtype == np.uint8
        assert shares.dtype == np.float32
        np.testing.assert_allclose(pixels.mean(axis=(1, 2)) / 200, shares, atol=0.004)
        assert (shares[np.arange(8), np.arange(8) % 3] >= 0.5).all()
        is_cut = np.isin(pixels, (0, 200)).all()
        covered += bool(is_cut)
        blended += not is_cut
    assert blended > 10
    assert covered > 10
    assert images.max() == 200, "the batch itself stays as it was"


def test_a_share_of_the_batches_is_mixed(color_folder: Path) -> None:
    """The rest is as without mixing; which ones are mixed repeats with the seed."""
    samples, labels = load_folder(color_folder), ("blue", "green", "red")
    plain, some, again = (
        Batches(samples, labels, same, batch_size=4, shuffle=True, mix=mix) for mix in (0.0, 0.5, 0.5)
    )
    mixed_batches = [not np.array_equal(plain[number][1], some[number][1]) for number in range(len(plain))]
    assert 0 < sum(mixed_batches) < len(plain)
    for number in range(len(plain)):
        np.testing.assert_array_equal(some[number][0], again[number][0])
        np.testing.assert_allclose(some[number][1].sum(axis=1), 1, rtol=1e-6)


def test_a_share_of_the_images_is_shown_small_in_another(color_folder: Path) -> None:
    """In one of ``background`` or of its own label, whose target it keeps; in its own where there is none."""
    labels = ("background", "green", "red")
    samples = [
        replace(sample, label=sample.label.replace("blue", "background"))
        for sample in load_folder(color_folder)
    ]

    def shares(samples: list[Sample]) -> dict[str, list[list[float]]]:
        """Of the pixels of each image that are blue, green and red, by label."""
        batches = Batches(samples, labels, same, batch_size=10, inset=0.5)
        found: dict[str, list[list[float]]] = {label: [] for label in labels}
        for number in range(len(batches)):
            for image, target in zip(*batches[number], strict=True):
                brightest = np.bincount(image.argmax(axis=2).ravel(), minlength=3)
                found[labels[target.argmax()]].append((brightest / brightest.sum()).tolist())
        return found

    by_label = shares(samples)
    assert by_label == shares(samples)
    assert min(blue for blue, _, _ in by_label["background"]) > 0.99
    for label, channel in (("green", 1), ("red", 2)):
        own = np.array(by_label[label])[:, channel]
        assert (np.array(by_label[label])[:, 3 - channel] < 0.01).all()
        assert ((own > 0.99) | ((own > 0.1) & (own < 0.7))).all()
        assert 2 <= (own < 0.7).sum() <= 12
    without = shares([sample for sample in samples if sample.label != "background"])
    assert min(green for _, green, _ in without["green"]) > 0.99


def test_frames_of_videos_have_the_labels_of_their_list(tmp_path: Path) -> None:
    """Not the names of the videos, whose frames would be divided at random besides."""
    rows = ["video,frame,label,split"]
    for video, split in (("clip1", "train"), ("clip2", "test")):
        (tmp_path / video).mkdir()
        for number in range(4):
            (tmp_path / video / f"{number}.png").touch()
            rows.append(f"{video}/,{number}.png,{'xy'[number % 2]},{split}".replace("/", ""))
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    samples = load_folder(tmp_path)
    assert counts(samples) == {"train": {"x": 2, "y": 2}, "test": {"x": 2, "y": 2}}
    assert {sample.group for sample in of_split(samples, "test")} == {"clip2"}


def test_names_of_any_kind_are_read_and_hidden_files_are_not(color_folder: Path, tmp_path: Path) -> None:
    """OpenCV dies of a path that is not UTF-8; macOS leaves ``._`` files beside those that it copies."""
    folder = tmp_path / "b\udce9"
    folder.mkdir()
    data = (color_folder / "red" / "00.png").read_bytes()
    for name in ("caf\udce9.png", "._00.png"):
        (folder / name).write_bytes(data)
    (sample,) = load_folder(tmp_path, test_fraction=0, valid_fraction=0)
    assert os.fsencode(sample.path.name) == b"caf\xe9.png"
    assert read_image(sample.path).shape == (48, 64, 3)


def test_unreadable_images_are_named_and_cut_off_ones_are_read(tmp_path: Path) -> None:
    """Also one that claims more pixels than OpenCV takes."""
    path = tmp_path / "a.png"
    data = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for content in (b"", b"no image", _claiming(data, 60000)):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"a\.png"):
            read_image(path)
    jpeg = tmp_path / "b.jpg"
    whole = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))[1]
    jpeg.write_bytes(whole.tobytes()[:-400])
    assert read_image(jpeg).shape == (64, 64, 3)


def test_what_a_model_was_trained_on_is_found_wherever_it_lies(color_folder: Path, tmp_path: Path) -> None:
    """By content; a model that does not tell finds nothing."""
    samples = load_folder(color_folder)
    division = division_of(samples)
    train = of_split(samples, "train")
    copy = tmp_path / "copy.png"
    copy.write_bytes(train[0].path.read_bytes())
    moved = Sample(copy, "red", "test")
    assert trained_on([moved, *of_split(samples, "test")], division) == [moved]
    assert trained_on([moved], {}) == []


def test_a_division_hangs_on_what_the_files_hold(color_folder: Path, tmp_path: Path) -> None:
    """In whatever order they are found; what cannot be read is told."""
    samples = load_folder(color_folder)
    assert division_of(samples[::-1]) == division_of(samples)
    names = [tmp_path / name for name in ("a.png", "b.png")]
    twins = [Sample(name, "red", "train") for name in names]
    for name, content in zip(names, (b"1", b"2"), strict=True):
        name.write_bytes(content)
    before = division_of(twins)
    names[0].write_bytes(b"2")
    names[1].write_bytes(b"1")
    assert division_of(twins) != before
    names[1].unlink()
    with pytest.raises(DatasetError, match=r"b\.png cannot be read: No such file"):
        division_of(twins)


def test_a_copy_that_was_in_its_own_split_then_has_not_moved(color_folder: Path, tmp_path: Path) -> None:
    """One black frame that two videos share does not stop the test video from being judged."""
    samples = load_folder(color_folder)
    copy = Sample(tmp_path / "copy.png", "red", "test")
    copy.path.write_bytes(of_split(samples, "train")[0].path.read_bytes())
    division = division_of([*samples, copy])
    assert trained_on([copy], division) == []
    assert trained_on([replace(copy, split="valid")], division) == [replace(copy, split="valid")]
    assert trained_on([replace(copy, split="train")], division) == [replace(copy, split="train")]
