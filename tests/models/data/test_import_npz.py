"""Arrays of images with label CSVs become files that training reads."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.import_npz import LabelColumn, import_npz, read_images, read_labels
from models.data.listing import open_listing
from models.errors import DatasetError
from service.cli import status_of

ROOT = Path(__file__).resolve().parents[3]


def write_pair(folder: Path, name: str, count: int, *, header: bool = True) -> tuple[Path, Path]:
    """An .npz of ``count`` small grey images and its CSV, with labels 0, 1, 0, 1, ..."""
    rng = np.random.default_rng(count)
    array, labels = folder / f"{name}.npz", folder / f"{name}.csv"
    np.savez(array, rng.integers(0, 256, (count, 1, 8, 9), np.uint8))
    lines = ["0,1"] if header else []
    labels.write_text("\r\n".join(lines + [f"{i + 1},{i % 2}" for i in range(count)]))
    return array, labels


def test_images_come_back_bit_by_bit_with_label_group_and_index(tmp_path: Path) -> None:
    """What is imported is what was in the array; index 0 is the first image, a header is no row."""
    array, labels = write_pair(tmp_path, "npz-1", 5)
    entries = import_npz([array], [labels], tmp_path / "out", layout=LabelColumn(names={"1": "key"}))
    assert [(e.path, e.label, e.group) for e in entries][:2] == [
        ("0/npz-1_000000.png", "0", "npz-1"),
        ("key/npz-1_000001.png", "key", "npz-1"),
    ]
    listing = open_listing(tmp_path / "out")
    assert list(listing.entries) == entries
    for entry, image in zip(entries, np.load(array)["arr_0"][:, 0], strict=True):
        np.testing.assert_array_equal(cv2.imread(str(listing.file(entry)), cv2.IMREAD_UNCHANGED), image)


@pytest.mark.parametrize("shape", [(3, 8, 9), (3, 1, 8, 9), (3, 8, 9, 1), (3, 3, 8, 9), (3, 8, 9, 3)])
def test_axes_of_all_usual_orders_are_understood(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Channels may be absent, first or last."""
    array = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    np.savez(tmp_path / "a.npz", array)
    images = read_images(tmp_path / "a.npz")
    assert images.shape == ((3, 8, 9, 3) if 3 in shape[1:] else (3, 8, 9))
    assert images.sum(dtype=int) == array.sum(dtype=int)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.booleans())
def test_a_line_more_than_images_is_a_header(
    tmp_path_factory: pytest.TempPathFactory, count: int, header: bool
) -> None:
    """The labels are the same with and without a header line, however few there are."""
    folder = tmp_path_factory.mktemp("labels")
    _, labels = write_pair(folder, "a", count, header=header)
    assert read_labels(labels, count, LabelColumn()) == [str(i % 2) for i in range(count)]


def test_splits_are_by_group_or_at_random(tmp_path: Path) -> None:
    """A group goes into one split as a whole; shares divide each label alike and reproducibly."""
    pairs = [write_pair(tmp_path, name, 20) for name in ("a", "b", "c")]
    arrays, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    by_group = import_npz(arrays, labels, tmp_path / "groups", split_of_group={"b": "valid", "c": "test"})
    assert {(e.group, e.split) for e in by_group} == {("a", "train"), ("b", "valid"), ("c", "test")}
    shares = {"train": 0.8, "test": 0.2}
    at_random = import_npz(arrays, labels, tmp_path / "random", fractions=shares)
    assert [sum(e.split == "test" and e.label == name for e in at_random) for name in "01"] == [6, 6]
    assert at_random == import_npz(arrays, labels, tmp_path / "again", fractions=shares)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an .npz"),
        (b"PK\x03\x04broken", "not an .npz"),
        ({"a": np.zeros((2, 4, 4), np.uint8), "b": np.zeros(1)}, "say which with --key"),
        ({"a": np.zeros((2, 4, 4, 5), np.uint8)}, "shape"),
        ({"a": np.zeros((0, 4, 4), np.uint8)}, "shape"),
        ({"a": np.zeros((2, 4, 4), np.int64)}, "int64"),
        ({"a": np.full((2, 4, 4), np.nan)}, "between 0 and 1"),
        ({"a": np.array([{"x": 1}], object)}, "not an .npz"),
    ],
)
def test_bad_arrays_are_explained(tmp_path: Path, content: object, message: str) -> None:
    """Whatever the file holds, a person reads what was expected, and no pickle is ever loaded."""
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(DatasetError, match=message):
        read_images(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,0\n2,1\n", "2 labels for 4 images"),
        ("1,0\n2,1\n3,0\n4\n", "line 4: no column 1"),
        ("1,0\n2,1\n3,../x\n4,0\n", "line 3: '../x' cannot name a label"),
        ("1,0\n2,\n3,0\n4,0\n", "line 2: '' cannot name a label"),
    ],
)
def test_bad_labels_are_explained_before_anything_is_written(tmp_path: Path, text: str, message: str) -> None:
    """A label CSV that does not fit its images never leaves half an import, nor a file elsewhere."""
    array, labels = write_pair(tmp_path, "a", 4)
    labels.write_text(text)
    with pytest.raises(DatasetError, match=message):
        import_npz([array], [labels], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_takes_files_in_order_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shell patterns work for arrays and labels; a folder with something in it is left alone."""
    pairs = [write_pair(tmp_path, name, 4) for name in ("a", "b")]
    files = [str(pair[0]) for pair in pairs] + [str(pair[1]) for pair in pairs]
    out = tmp_path / "out"
    assert status_of(["data", "import-npz", *files, "-o", str(out), "--test-groups", "b"]) == 0
    assert "8 images" in capsys.readouterr().out
    assert {(e.group, e.split) for e in open_listing(out).entries} == {("a", "train"), ("b", "test")}
    assert status_of(["data", "import-npz", *files, "-o", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert status_of(["data", "import-npz", *files, "-o", str(out), "--overwrite"]) == 0
    assert status_of(["data", "import-npz", *files[:3], "-o", str(tmp_path / "new")]) == 2
    assert "as many of each" in capsys.readouterr().err


def test_the_published_key_frames_are_read(tmp_path: Path) -> None:
    """The five files hold 126, 136, 174, 129 and 129 images; the line "0,1" of each CSV is no row."""
    folder = ROOT.parent / "shared" / "data" / "keyframes"
    if not folder.is_dir():
        pytest.skip("the key frames (../shared/data/keyframes) are not on this machine")
    numbers = range(1, 6)
    entries = import_npz(
        [folder / f"npz-{n}.npz" for n in numbers],
        [folder / f"csv-{n}.csv" for n in numbers],
        tmp_path / "out",
    )
    assert [sum(e.group == f"npz-{n}" for e in entries) for n in numbers] == [126, 136, 174, 129, 129]
    assert sum(e.label == "1" for e in entries) == 394
