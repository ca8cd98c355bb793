"""Lists of images: read, split, checked, balanced, copied, shown."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.balance import balance
from models.data.check import KINDS, check
from models.data.images import read_image, write_image
from models.data.import_images import import_images
from models.data.listing import Entry, Listing, inside, open_listing, read_listing, write_listing
from models.data.sheet import Layout, write_sheets
from models.data.split import add_splits
from models.datasets import load_folder, load_groups
from models.errors import DatasetError

ENTRIES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "g1", "g2", "g3", "g4", "g5"])), max_size=60
).map(lambda rows: [Entry(f"{n}.png", label, "", group) for n, (label, group) in enumerate(rows)])
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (48, 32), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def videos(tmp_path: Path) -> Listing:
    """Three videos of eight frames each with labels.csv: two labels in each, a split for each."""
    root = tmp_path / "videos"
    rows = ["video,frame,label,split"]
    for number, (video, split) in enumerate([("v1", "train"), ("v2", "valid"), ("v3", "test")]):
        for index in range(8):
            name = f"{video}-{index:03d}.png"
            write_picture(root / video / name, 100 * number + index)
            rows.append(f"{video},{name},{'seal' if index < 4 else 'none'},{split}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return open_listing(root)


@pytest.mark.parametrize("path", ["../x.png", "a/../../x.png", "/etc/x.png", "", ".", "a\0b", "a/.."])
def test_paths_cannot_leave_the_folder(tmp_path: Path, path: str) -> None:
    """A list from elsewhere never makes a tool read, or a copy write, outside of the folder."""
    with pytest.raises(DatasetError, match="not a path inside"):
        inside(path)
    file = tmp_path / "splits.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([["path", "label"], [path, "a"]])
    with pytest.raises(DatasetError, match="line 2"):
        read_listing(file, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns path, label or video, frame, label"),
        ("path,label\n", "no image"),
        ("path,label\na.png\n", "line 2: 1 cells, but 2 columns"),
        ("path,label\na.png,..\n", "line 2: '..' cannot name a label"),
        ("path,label\n\xff", "cannot be read as a CSV"),
    ],
)
def test_bad_lists_are_told_with_their_lines(tmp_path: Path, text: str, message: str) -> None:
    """The message says what a list should look like and where it does not."""
    (tmp_path / "splits.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=message):
        open_listing(tmp_path)


def test_a_column_of_groups_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Mistyped, it would mean no groups at all, and videos divided between training and test."""
    (tmp_path / "labels.csv").write_text("video,frame,label,camera\nv1,0.png,a,c1\nv2,0.png,a,c1\n")
    assert [entry.group for entry in open_listing(tmp_path).entries] == ["v1", "v2"]
    assert [entry.group for entry in open_listing(tmp_path, group_column="camera").entries] == ["c1", "c1"]
    with pytest.raises(DatasetError, match="no column 'camra'; there are video, frame, label, camera"):
        open_listing(tmp_path, group_column="camra")
    (tmp_path / "labels.csv").unlink()
    write_picture(tmp_path / "a" / "0.png", 1)
    with pytest.raises(DatasetError, match="no list"):
        open_listing(tmp_path, group_column="camera")


@given(ENTRIES)
def test_lists_survive_being_written(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    """What a tool writes is what the next one reads."""
    file = tmp_path_factory.mktemp("list") / "splits.csv"
    write_listing(file, entries)
    if entries:
        assert list(read_listing(file, file.parent).entries) == entries
    with pytest.raises(DatasetError, match="--overwrite"):
        write_listing(file, entries)


def test_a_name_that_is_not_utf8_cannot_be_listed(tmp_path: Path) -> None:
    """It is told by name, the list that is there is kept, and nothing half-written lies beside it."""
    file = tmp_path / "splits.csv"
    write_listing(file, [Entry("red/1.png", "red", "train")])
    before = file.read_bytes()
    with pytest.raises(DatasetError, match=r"red/caf\\udce9.*is not UTF-8; rename"):
        write_listing(file, [Entry("red/caf\udce9.png", "red", "train")], overwrite=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@given(ENTRIES, st.integers(0, 99))
def test_no_group_is_ever_divided(entries: list[Entry], seed: int) -> None:
    """Whatever the groups are, each is in one split; all images have one; the seed decides alone."""
    found = add_splits(entries, SHARES, seed=seed)
    assert [(e.path, e.label, e.group) for e in found] == [(e.path, e.label, e.group) for e in entries]
    assert {e.split for e in found} <= set(SHARES)
    assert all(len({e.split for e in found if e.group == g}) == 1 for g in {e.group for e in found} - {""})
    assert found == add_splits(entries, SHARES, seed=seed)
    groups = len({e.group for e in entries if e.group}) + sum(not e.group for e in entries)
    assert len({e.split for e in found}) == min(3, groups)


@given(st.integers(10, 60), st.integers(10, 60), st.integers(0, 9))
def test_shares_are_kept_for_every_label(a: int, b: int, seed: int) -> None:
    """Without groups each label is divided as asked, to an image."""
    entries = [Entry(f"{n}.png", "a" if n < a else "b") for n in range(a + b)]
    found = Counter((e.label, e.split) for e in add_splits(entries, SHARES, seed=seed))
    for label, count in (("a", a), ("b", b)):
        for split, share in SHARES.items():
            assert abs(found[label, split] - share * count) <= 1.0


@given(ENTRIES, st.integers(0, 9))
def test_splits_that_are_there_can_be_kept(entries: list[Entry], seed: int) -> None:
    """New images join without an old one, or its group, changing sides."""
    before = add_splits(entries[: len(entries) // 2], SHARES, seed=seed)
    after = add_splits(before + entries[len(before) :], SHARES, seed=seed + 1, keep=True)
    assert after[: len(before)] == before
    assert all(len({e.split for e in after if e.group == g}) == 1 for g in {e.group for e in after} - {""})


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_groups_are_placed_first(seed: int) -> None:
    """Small ones fill what a large one leaves; a large one that came last would burst its split."""
    sizes = {"large": 7, "one": 1, "two": 1, "three": 1}
    entries = [Entry(f"{g}{n}.png", "a", "", g) for g, size in sizes.items() for n in range(size)]
    found = Counter(entry.split for entry in add_splits(entries, SHARES, seed=seed))
    assert found == {"train": 7, "valid": 1, "test": 2}


def test_a_rare_label_weighs_as_much_as_a_frequent_one() -> None:
    """Two images of one label go apart, though the frequent label would have them together."""
    rows = [("a", "g1")] * 60 + [("a", "g2")] * 39 + [("b", "g2"), ("a", "g3"), ("b", "g3")]
    entries = [Entry(f"{n}.png", label, "", group) for n, (label, group) in enumerate(rows)]
    found = add_splits(entries, {"train": 0.5, "test": 0.5})
    assert {entry.split for entry in found if entry.label == "b"} == {"train", "test"}


def test_what_is_kept_counts_towards_the_shares() -> None:
    """The rest fills up what is missing; a split that is kept without a share is left as it is."""
    splits = ["test"] * 4 + ["valid"] + [""] * 6
    entries = [Entry(f"{n}.png", "a", split) for n, split in enumerate(splits)]
    found = [entry.split for entry in add_splits(entries, {"train": 0.6, "test": 0.4}, keep=True)]
    assert found == ["test"] * 4 + ["valid"] + ["train"] * 6


@given(st.lists(st.integers(0, 9), min_size=3, max_size=40), st.booleans())
def test_an_image_that_is_listed_again_stays_on_its_side(numbers: list[int], by_group: bool) -> None:
    """A balanced list repeats images: none is trained on and judged at once."""
    entries = [Entry(f"{n}.png", "ab"[n % 2]) for n in numbers]
    found = add_splits(entries, SHARES, by_group=by_group)
    assert len({(entry.path, entry.split) for entry in found}) == len(set(numbers))


@pytest.mark.parametrize("keep", [False, True])
def test_what_a_list_leaves_out_stays_out(keep: bool) -> None:
    """Neither dividing anew nor filling in gives an excluded image, or takes its group along."""
    entries = [Entry(f"{n}.png", "a", "excluded" if n == 3 else "", "cam") for n in range(6)]
    found = [entry.split for entry in add_splits(entries, {"train": 1.0}, keep=keep)]
    assert found == ["train", "train", "train", "excluded", "train", "train"]


@pytest.mark.parametrize(
    "fractions", [{"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": 0.5, "exam": 0.5}]
)
def test_impossible_shares_are_refused(fractions: dict[str, float]) -> None:
    """Shares that do not add up, or of unknown splits, are told."""
    with pytest.raises(DatasetError, match=r"sum to 1|no split exam"):
        add_splits([Entry("a.png", "a")], fractions)


def test_a_sound_collection_has_no_findings(videos: Listing) -> None:
    """The checks do not cry wolf."""
    assert check(videos) == []


def test_what_is_hidden_is_not_there(tmp_path: Path) -> None:
    """Neither label nor image nor group, wherever it lies, for training and for the tools alike."""
    shown = [f"{label}/{n}.png" for label in "ab" for n in range(3)]
    hidden = ["a/._0.png", ".ipynb_checkpoints/0.png", "b/.trash/0.png"]
    for number, name in enumerate(shown + hidden):
        write_picture(tmp_path / name, number)
    assert [entry.path for entry in open_listing(tmp_path).entries] == shown
    for samples in (load_folder(tmp_path), load_groups(tmp_path, "background")):
        assert sorted(sample.path.relative_to(tmp_path).as_posix() for sample in samples) == shown
    write_listing(tmp_path / "splits.csv", [Entry(path, path[0], "train") for path in shown[1:]])
    assert [finding.paths for finding in check(open_listing(tmp_path))] == [(shown[0],)]


def test_pictures_of_formats_that_are_not_read_are_told(tmp_path: Path) -> None:
    """A label of a telephone's HEIC alone would be missing without a word; what a list names is read."""
    for name in ("a/1.png", "b/1.png"):
        write_picture(tmp_path / name, ord(name[0]))
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "1.JFIF")
    for name in ("c/2.HEIC", "a/3.tif", "._4.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "clip.gif").mkdir()
    (tmp_path / "b" / "clip.png").mkdir()
    listing = open_listing(tmp_path)
    assert [entry.path for entry in listing.entries] == ["a/1.JFIF", "b/1.png"]
    found = [(finding.kind, finding.paths) for finding in check(listing)]
    assert found == [("other-format", ("a/3.tif",)), ("other-format", ("c/2.HEIC",))]
    listed = Listing(tmp_path, (*listing.entries, Entry("a/3.tif", "a"), Entry("c/2.HEIC", "c")), tmp_path)
    assert check(listed, ignore=("unreadable", "one-class")) == []


def test_everything_wrong_is_found(videos: Listing) -> None:
    """One fault of each kind is found as that kind, with the image concerned; nothing crashes."""
    root = videos.root
    (root / "v1" / "v1-002.png").unlink()
    data = (root / "v2" / "v2-003.png").read_bytes()
    (root / "v2" / "v2-003.png").write_bytes(data[: len(data) // 2])
    write_picture(root / "v1" / "new.png", 999)
    write_picture(root / "v3" / "v3-007.png", 5)  # that is frame 5 of v1, which is labelled none as well
    write_picture(root / "v3" / "v3-001.png", 6)  # that is frame 6 of v1, labelled none; here seal
    lines = (root / "labels.csv").read_text().splitlines()
    lines.remove("v2,v2-005.png,none,valid")
    lines += ["v1,v1-000.png,none,train", "v3,v3-004.png,none,train"]
    lines += [f"v4,v4-{n}.png,seal,valid" for n in (0, 1)]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    for n in (0, 1):
        write_picture(root / "v4" / f"v4-{n}.png", 777 + n)
    found = check(open_listing(root))
    by_kind = {kind: [f for f in found if f.kind == kind] for kind in KINDS}
    assert [f.paths for f in by_kind["missing"]] == [("v1/v1-002.png",)]
    assert [f.paths for f in by_kind["unreadable"]] == [("v2/v2-003.png",)]
    assert [f.paths for f in by_kind["unlisted"]] == [("v1/new.png",), ("v2/v2-005.png",)]
    assert [f.paths[0] for f in by_kind["listed-twice"]] == ["v1/v1-000.png", "v3/v3-004.png"]
    assert [f.message for f in by_kind["hole"]] == ["v2: after 4 comes 6, 1 missing"]
    assert [f.message for f in by_kind["one-class"]] == ["all 2 images of v4 are seal"]
    assert [f.message for f in by_kind["divided-group"]] == ["v3 is in test, train"]
    assert [f.paths for f in by_kind["near-duplicate"]] == [
        ("v1/v1-005.png", "v3/v3-007.png"),
        ("v1/v1-006.png", "v3/v3-001.png"),
    ]
    assert [f.paths for f in by_kind["near-duplicate-label"]] == [("v1/v1-006.png", "v3/v3-001.png")]
    assert by_kind["absent-label"] == []
    assert {f.kind for f in check(open_listing(root), ignore=["missing", "hole"])} == {
        f.kind for f in found
    } - {"missing", "hole"}


def test_a_split_without_a_label_is_found(videos: Listing) -> None:
    """A label that is never judged would look perfect."""
    entries = tuple(e for e in videos.entries if (e.split, e.label) != ("test", "seal"))
    kinds = {f.kind: f.message for f in check(Listing(videos.root, entries, videos.source))}
    assert kinds["absent-label"] == "test has no image of seal"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["train", "test"])), min_size=1, max_size=50),
    st.sampled_from(["min", "max", "median", 7]),
)
def test_balanced_labels_are_equally_frequent(rows: list[tuple[str, str]], to: str | int) -> None:
    """Every label of the split has one count, no image is favoured by more than one, the rest stays."""
    entries = [Entry(f"{n}.png", label, split) for n, (label, split) in enumerate(rows)]
    if not any(e.split == "train" for e in entries):
        with pytest.raises(DatasetError, match="there are test"):
            balance(entries, to)
        return
    found = balance(entries, to, seed=3)
    counts = Counter(e.label for e in found if e.split == "train")
    assert set(counts) == {e.label for e in entries if e.split == "train"}
    assert len(set(counts.values())) == 1
    assert [e for e in found if e.split == "test"] == [e for e in entries if e.split == "test"]
    times = Counter(found)
    for label in counts:
        of_label = [times[e] for e in entries if e.split == "train" and e.label == label]
        assert max(of_label) - min(of_label) <= 1
    assert found == balance(entries, to, seed=3)


@pytest.mark.parametrize("to", ["most", "0", -3])
def test_impossible_balances_are_refused(to: str | int) -> None:
    """The message names what can be asked for."""
    with pytest.raises(DatasetError, match="min, max, median or a number"):
        balance([Entry("a.png", "a", "train")], to)


def test_what_is_not_split_cannot_be_balanced() -> None:
    """A plain folder of pictures has no split to balance: the error names the tool that adds them."""
    with pytest.raises(DatasetError, match="there are none yet, which 'video-events data split' adds"):
        balance([Entry("a.png", "a")])
    with pytest.raises(DatasetError, match="there are test, valid"):
        balance([Entry("a.png", "a"), Entry("b.png", "a", "valid"), Entry("c.png", "a", "test")])


def test_frames_with_labels_become_a_folder_to_train_on(videos: Listing, tmp_path: Path) -> None:
    """Label, split, video and number of each frame are kept, its bytes too; broken ones are left out."""
    (videos.root / "v1" / "v1-003.png").write_bytes(b"")
    imported = import_images(videos, tmp_path / "out")
    assert [one.path for one in imported.skipped] == ["v1/v1-003.png"]
    assert imported.entries == open_listing(tmp_path / "out").entries
    assert len(imported.entries) == 23
    assert imported.entries[4] == Entry("none/v1_000005.png", "none", "train", "v1")
    copied = (tmp_path / "out" / "none" / "v1_000005.png").read_bytes()
    assert copied == (videos.root / "v1" / "v1-005.png").read_bytes()
    with pytest.raises(DatasetError, match="--overwrite"):
        import_images(videos, tmp_path / "out")


def test_folders_of_images_become_one_too(tmp_path: Path) -> None:
    """Images of any names below a label's folder are numbered; a folder below it is their group."""
    for name in ("cat/b.png", "cat/a.png", "cat/cam1/x.png", "dog/1.png"):
        write_picture(tmp_path / "in" / name, len(name))
    imported = import_images(open_listing(tmp_path / "in"), tmp_path / "out")
    assert [(e.path, e.group, e.split) for e in imported.entries] == [
        ("cat/cat_000000.png", "", "train"),
        ("cat/cat_000001.png", "", "train"),
        ("cat/cam1_000000.png", "cam1", "train"),
        ("dog/dog_000001.png", "", "train"),
    ]


def test_sheets_show_each_video_and_label_by_pages(videos: Listing, tmp_path: Path) -> None:
    """A page has as many pictures as it may, the last what is left; a broken image costs only itself."""
    (videos.root / "v2" / "v2-000.png").write_bytes(b"no image")
    sheets = write_sheets(videos, tmp_path / "sheets", Layout(columns=2, rows=1, tile=40))
    assert [page.name for page in sheets.pages][:4] == [
        "v1_seal_001.jpg",
        "v1_seal_002.jpg",
        "v1_none_001.jpg",
        "v1_none_002.jpg",
    ]
    assert len(sheets.pages) == 12
    assert [one.path for one in sheets.skipped] == ["v2/v2-000.png"]
    assert read_image(sheets.pages[0]).shape == (58, 80, 3)
    few = write_sheets(videos, tmp_path / "few", Layout(tile=40, by=("label",), limit=2))
    assert [read_image(page).shape[1] for page in few.pages] == [80, 80]
    with pytest.raises(DatasetError, match="there are label, group, split"):
        write_sheets(videos, tmp_path / "bad", Layout(by=("colour",)))


def test_pages_are_counted_sheet_by_sheet(tmp_path: Path) -> None:
    """A group whose name begins like another's takes no number from it."""
    for number in range(2):
        write_picture(tmp_path / f"{number}.png", number)
    entries = tuple(Entry(f"{number}.png", "a", "", group) for group in ("b_c", "b") for number in range(2))
    listing = Listing(tmp_path, entries, tmp_path)
    sheets = write_sheets(listing, tmp_path / "sheets", Layout(columns=1, rows=1, tile=40, by=("group",)))
    assert [page.name for page in sheets.pages] == ["b_c_001.jpg", "b_c_002.jpg", "b_001.jpg", "b_002.jpg"]


def test_what_cannot_be_stored_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither an image that no encoder takes nor a table without room leaves anything but the reason."""
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert not capfd.readouterr().err  # OpenCV warns of options of another format
    with pytest.raises(DatasetError, match="OpenCV does not store 70000×1 pixels"):
        write_image(tmp_path / "long.jpg", np.zeros((1, 70_000, 3), np.uint8))
    (tmp_path / "list.csv").mkdir()
    with pytest.raises(DatasetError, match="cannot write"):
        write_listing(tmp_path / "list.csv", [Entry("a.png", "a")], overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "list.csv"]


def test_cut_off_images_are_noticed(tmp_path: Path) -> None:
    """OpenCV would fill the rest of a photograph with grey and say nothing."""
    photo = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"a{suffix}"
        cv2.imwrite(str(path), photo)
        assert read_image(path).shape == (64, 64, 3)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1000])
        with pytest.raises(DatasetError, match="cut off"):
            read_image(path)
        path.write_bytes(whole + bytes(10_000))  # a phone's motion photo: a short video after the picture
        assert read_image(path).shape == (64, 64, 3)


def test_the_end_of_a_thumbnail_is_not_that_of_the_photograph(tmp_path: Path) -> None:
    """Cameras put a small JPEG into the first segments of a large one."""
    path, small = tmp_path / "a.jpg", np.zeros((16, 16, 3), np.uint8)
    photo, thumbnail = (cv2.imencode(".jpg", image)[1].tobytes() for image in (small.repeat(9, 0), small))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    path.write_bytes(photo[:2] + segment + photo[2:])
    assert read_image(path).shape == (144, 16, 3)
    path.write_bytes(photo[:2] + segment + photo[2:-10])
    with pytest.raises(DatasetError, match="cut off"):
        read_image(path)
