"""Makes classes equally frequent in a new list of images; no image is touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

import numpy as np

from models.data.listing import Entry
from models.errors import DatasetError


def balance(
    entries: Sequence[Entry], to: str | int = "min", *, split: str = "train", seed: int = 1
) -> list[Entry]:
    """``entries`` with as many of each label in ``split`` as ``to`` says; other splits stay as they are.

    ``to`` is ``min`` (undersample to the rarest), ``max`` (repeat up to the most frequent), ``median`` or
    a number. Repeats differ by one at most, and what is left out or repeated once more is chosen by
    ``seed``. The order of the entries is kept. Raises DatasetError.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        if entry.split == split:
            places[entry.label].append(place)
    if not places:
        known = ", ".join(sorted({entry.split for entry in entries} - {""}))
        more = f"there are {known}" if known else "there are none yet, which 'video-events data split' adds"
        raise DatasetError(f"no image has the split {split!r}; {more}")
    wanted = _wanted([len(chosen) for chosen in places.values()], to)
    times = [1 if entry.split != split else 0 for entry in entries]
    for label, chosen in places.items():
        rounds, rest = divmod(wanted, len(chosen))
        order = np.random.default_rng([seed, *label.encode()]).permutation(len(chosen))
        lucky = set(order[:rest].tolist())
        for rank, place in enumerate(chosen):
            times[place] = rounds + (rank in lucky)
    return [entry for entry, count in zip(entries, times, strict=True) for _ in range(count)]


def _wanted(counts: Sequence[int], to: str | int) -> int:
    named = {"min": min(counts), "max": max(counts), "median": round(median(counts))}
    if isinstance(to, str) and to in named:
        return named[to]
    try:
        number = int(to)
    except ValueError:
        number = 0
    if number < 1:
        raise DatasetError(f"cannot balance to {to!r}; expected min, max, median or a number above 0")
    return number
