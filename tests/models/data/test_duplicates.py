"""Near-duplicates are all found, and nothing else, however the search goes about it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.duplicates import Duplicates, Member, exclude_copies, find_duplicates, group_hashes
from models.data.hashes import difference_hash, near_pairs
from models.data.listing import Entry, Listing, open_listing
from models.errors import DatasetError

ROOT = Path(__file__).resolve().parents[3]


def brute_force(hashes: np.ndarray, distance: int) -> list[tuple[int, int, int]]:
    """Every pair, counted bit by bit."""
    numbers = [int.from_bytes(row.tobytes()) for row in hashes]
    apart = {
        (i, j): (numbers[i] ^ numbers[j]).bit_count()
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
    }
    return [(i, j, bits) for (i, j), bits in apart.items() if bits <= distance]


def clustered(seed: int, count: int, words: int, flips: int) -> np.ndarray:
    """Hashes around a few centres, so that there are pairs at every small distance."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (max(1, count // 6), 64 * words), np.uint8)
    bits = centres[rng.integers(0, len(centres), count)]
    for row in bits:
        row[rng.integers(0, 64 * words, rng.integers(0, flips + 1))] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(0, 80),
    words=st.sampled_from([1, 4]),
    distance=st.integers(0, 24),
)
def test_the_search_is_exact(seed: int, count: int, words: int, distance: int) -> None:
    """Buckets and blocks leave out no pair that counting every bit of every pair finds, and add none."""
    hashes = clustered(seed, count, words, flips=14) if count else np.empty((0, words), np.uint64)
    assert [tuple(row) for row in near_pairs(hashes, distance).tolist()] == brute_force(hashes, distance)


def test_many_hashes_are_searched_through_buckets_and_blocks_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways give the same pairs on more rows than a block holds; neither is left unused."""
    hashes = clustered(3, 3000, 4, flips=14)
    used = []
    for name in ("_compare_buckets", "_compare_blocks"):
        way = getattr(__import__("models.data.hashes", fromlist=[name]), name)
        monkeypatch.setattr(f"models.data.hashes.{name}", lambda *a, n=name, w=way: used.append(n) or w(*a))
    through_buckets = near_pairs(hashes, 18)
    monkeypatch.setattr("models.data.hashes._candidates", lambda keys: 10**12)
    np.testing.assert_array_equal(near_pairs(hashes, 18), through_buckets)
    assert used == ["_compare_buckets", "_compare_blocks"]
    assert len(through_buckets) > 1000


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def album(tmp_path: Path) -> Listing:
    """Five pictures; of picture 1 a smaller JPEG for the test, of picture 2 a brighter one for training."""
    root = tmp_path / "album"
    (root / "a").mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(str(root / "a" / f"{number}.png"), picture(number))
    cv2.imwrite(str(root / "a" / "1_small.jpg"), cv2.resize(picture(1), (60, 45)))
    brighter = cv2.convertScaleAbs(picture(2), alpha=0.9, beta=12)
    cv2.imwrite(str(root / "a" / "2_brighter.png"), brighter)
    (root / "a" / "broken.png").write_bytes(b"\x89PNG nothing")
    rows = [(f"a/{n}.png", "train") for n in range(5)]
    rows += [("a/1_small.jpg", "test"), ("a/2_brighter.png", "train"), ("a/broken.png", "train")]
    (root / "splits.csv").write_text("path,label,split\n" + "".join(f"{p},a,{s}\n" for p, s in rows))
    return open_listing(root)


@pytest.mark.parametrize("bits", [64, 256])
def test_copies_are_found_and_others_are_not(album: Listing, bits: int) -> None:
    """A copy in another size, format or brightness is a near-duplicate; another picture is not."""
    found = find_duplicates(album, bits=bits)
    assert [[member.entry.path for member in group] for group in found.groups] == [
        ["a/1.png", "a/1_small.jpg"],
        ["a/2.png", "a/2_brighter.png"],
    ]
    assert [one.path for one in found.skipped] == ["a/broken.png"]


def test_training_loses_what_the_test_has(album: Listing) -> None:
    """Only images for training with a near copy elsewhere are excluded; the others stay as they are."""
    changed = exclude_copies(album.entries, find_duplicates(album))
    before = {entry.path: entry.split for entry in album.entries}
    assert {e.path: e.split for e in changed if e.split != before[e.path]} == {"a/1.png": "excluded"}


def test_an_image_that_is_listed_again_is_a_copy_of_itself() -> None:
    """The row for training goes, the one that judges stays; a balanced list repeats images in one split."""
    entries = [Entry("1.png", "a", split) for split in ("train", "train", "valid", "test")]
    entries += [Entry("2.png", "a", "train"), Entry("2.png", "b", "train"), Entry("3.png", "a", "valid")]
    near = Duplicates((tuple(Member(entry, 3) for entry in entries[-2:]),), ())
    found = [entry.split for entry in exclude_copies(entries, near)]
    assert found == ["excluded", "excluded", "excluded", "test", "excluded", "excluded", "valid"]


def test_a_thousand_equal_images_are_one_group() -> None:
    """Equal images cost no more than different ones; a path listed twice is no duplicate of itself."""
    entries = [Entry(f"a/{n}.png", "a") for n in range(2000)]
    groups = group_hashes(entries, [np.zeros(4, np.uint64)] * 2000, 18)
    assert [len(group) for group in groups] == [2000]
    assert group_hashes(entries[:1] * 2, [np.zeros(4, np.uint64)] * 2, 18) == ()


def test_equal_images_are_no_bit_apart() -> None:
    """Also where another is near: the distance of each is that to its nearest."""
    entries = [Entry(f"a/{n}.png", "a") for n in range(3)]
    (group,) = group_hashes(entries, [np.full(4, value, np.uint64) for value in (0, 0, 1)], 18)
    assert [member.distance for member in group] == [0, 0, 4]


def test_validation_loses_what_the_test_has(album: Listing) -> None:
    """What chooses a model must not know what judges it."""
    entries = tuple(replace(e, split="valid") if e.split == "train" else e for e in album.entries)
    changed = exclude_copies(entries, find_duplicates(replace(album, entries=entries)))
    assert [entry.path for entry in changed if entry.split == "excluded"] == ["a/1.png"]


def test_other_lengths_are_refused() -> None:
    """The message names the hashes that there are."""
    with pytest.raises(DatasetError, match="64, 256"):
        difference_hash(np.zeros((9, 9), np.uint8), 128)


def test_the_excluded_photographs_have_partners() -> None:
    """Every photograph that the published splits exclude is found beside one that is judged on."""
    root = ROOT.parent / "shared" / "data" / "sports"
    if not root.is_dir():
        pytest.skip("the photographs (../shared/data/sports) are not on this machine")
    listing = open_listing(root, group_column="duplicate_group")
    marked = {entry.group for entry in listing.entries if entry.split == "excluded"}
    chosen = tuple(entry for entry in listing.entries if entry.group in marked)
    found = find_duplicates(Listing(root, chosen, listing.source))
    partners = {
        member.entry.path
        for group in found.groups
        if {other.entry.split for other in group} & {"valid", "test"}
        for member in group
    }
    excluded = {entry.path for entry in chosen if entry.split == "excluded"}
    assert len(excluded) == 92
    assert excluded <= partners
