"""Perceptual hashes of images, and all pairs of them within a Hamming distance."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import DatasetError

Image = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
"""(N, words): each row is a hash of 64·words bits."""
Pairs = npt.NDArray[np.int64]
"""(P, 3): row of one hash, row of a later one, their distance; sorted."""

SIDE_OF_BITS = {64: 8, 256: 16}
_BLOCK = 1024


def difference_hash(image: Image, bits: int = 256) -> Hashes:
    """The difference hash (N. Krawetz, 2013) of an H×W ``uint8`` image: whether each pixel is
    darker than its right neighbour, on a grid of 8×8 or 16×16. Shape (words,).
    """
    try:
        side = SIDE_OF_BITS[bits]
    except KeyError:
        raise DatasetError(f"no hash of {bits} bits; there are {', '.join(map(str, SIDE_OF_BITS))}") from None
    small = cv2.resize(image, (side + 1, side), interpolation=cv2.INTER_AREA).astype(np.int16)
    packed = np.packbits(small[:, 1:] > small[:, :-1])
    return np.asarray(packed.view(np.uint64), np.uint64)


def near_pairs(hashes: Hashes, distance: int) -> Pairs:
    """All pairs of rows at most ``distance`` bits apart, exactly.

    Multi-index hashing (Norouzi et al., 2012): of ``distance + 1`` disjoint parts of the bits two such
    hashes agree in one at least, so only rows that agree in a part are compared. Where the parts are too
    short for that to help, every row is compared with every other, in blocks.
    """
    count = len(hashes)
    if count < 2:
        return np.empty((0, 3), np.int64)
    keys = _part_keys(hashes, distance + 1)
    if keys is None or _candidates(keys) * 16 > count * (count - 1) // 2:
        found = _compare_blocks(hashes, distance)
    else:
        found = _compare_buckets(hashes, keys, distance)
    return np.unique(found, axis=0)


def _part_keys(hashes: Hashes, parts: int) -> list[npt.NDArray[np.uint64]] | None:
    """The value of each part of the bits for every row; None if a part would be under four bits.

    A part takes every ``parts``-th bit: neighbouring bits depend on each other, as pictures are smooth.
    """
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    if bits.shape[1] // parts < 4:
        return None
    keys = []
    for part in range(parts):
        chosen = bits[:, part::parts][:, :64].astype(np.uint64)
        keys.append(chosen @ (np.uint64(1) << np.arange(chosen.shape[1], dtype=np.uint64)))
    return keys


def _candidates(keys: list[npt.NDArray[np.uint64]]) -> int:
    total = 0
    for key in keys:
        sizes = np.unique(key, return_counts=True)[1].astype(np.int64)
        total += int((sizes * (sizes - 1) // 2).sum())
    return total


def _compare_buckets(hashes: Hashes, keys: list[npt.NDArray[np.uint64]], distance: int) -> Pairs:
    found = []
    for key in keys:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        starts = np.arange(len(order))
        lag = 1
        while True:
            starts = starts[starts + lag < len(order)]
            starts = starts[ordered[starts] == ordered[starts + lag]]
            if not len(starts):
                break
            found.append(_close(hashes, order[starts], order[starts + lag], distance))
            lag += 1
    return np.concatenate(found) if found else np.empty((0, 3), np.int64)


def _compare_blocks(hashes: Hashes, distance: int) -> Pairs:
    found = []
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        for other in range(start, len(hashes), _BLOCK):
            apart = np.zeros((len(block), len(hashes[other : other + _BLOCK])), np.uint16)
            for word in range(hashes.shape[1]):
                apart += np.bitwise_count(block[:, word, None] ^ hashes[None, other : other + _BLOCK, word])
            rows, columns = np.nonzero(apart <= distance)
            rows, columns, apart = rows + start, columns + other, apart[rows, columns]
            later = columns > rows
            found.append(np.stack([rows[later], columns[later], apart[later].astype(np.int64)], axis=1))
    return np.concatenate(found)


def _close(
    hashes: Hashes, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], distance: int
) -> Pairs:
    apart = np.bitwise_count(hashes[first] ^ hashes[second]).sum(axis=1, dtype=np.int64)
    near = apart <= distance
    low, high = np.minimum(first, second)[near], np.maximum(first, second)[near]
    return np.stack([low, high, apart[near]], axis=1)
