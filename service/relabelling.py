"""What per-label figures become when the labels of a model change while a stream runs.

A label that stays keeps its past, one that comes has none, one that goes takes its past with it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from service.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Relabelling:
    """From figures per old label to figures per new one."""

    size: int
    place_of: dict[int, int]

    @classmethod
    def between(cls, old: Sequence[str], new: Sequence[str]) -> Self:
        """Raises ConfigurationError unless ``new`` are one or more different names."""
        if not new or len(set(new)) != len(new):
            raise ConfigurationError(f"labels must be one or more different names, got {list(new)!r}")
        places = {label: place for place, label in enumerate(new)}
        return cls(len(new), {i: places[label] for i, label in enumerate(old) if label in places})

    def index(self, old: int | None) -> int | None:
        """The place of a label that was the ``old``-th, or None if it is gone."""
        return None if old is None else self.place_of.get(old)

    def array(self, old: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Figures of the new labels; 0 for those that have just come."""
        new = np.zeros(self.size, old.dtype)
        new[list(self.place_of.values())] = old[list(self.place_of)]
        return new
