"""Gathers frames into groups that go through the network together.

Pure: when a group is full follows from the frames alone, never from the clock, so that the same clip
always falls into the same groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from service.types import Frame, Image

BATCHES_AT_ONCE: Final = 2
"""In a network for several threads: as one ends, and leaves cores idle, the other begins."""


def batch_sizes(most: int) -> tuple[int, ...]:
    """1, 2, 4 … and ``most``: those that engines compile for, and enough to know how long the others take."""
    return tuple(sorted({*(1 << power for power in range(most.bit_length())), most} - {0}))


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames in order; ``inputs`` is (N, h, w, 3) ``uint8`` for those at ``positions``, or ``None``.

    Those at ``repeats`` take over what is said of the last one before them that is classified.
    """

    frames: tuple[Frame, ...]
    positions: tuple[int, ...]
    repeats: tuple[int, ...]
    inputs: npt.NDArray[np.uint8] | None


class Batcher:
    """Collects up to ``size`` model inputs together with the frames that wait for their results.

    Frames that are not classified themselves may come between. A group is also full when its frames
    take ``max_bytes`` or more, and at once when none of them waits for a result.
    """

    def __init__(self, size: int, max_bytes: int) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._positions: list[int] = []
        self._repeats: list[int] = []
        self._inputs: list[Image] = []
        self._bytes = 0

    def add(self, frame: Frame, model_input: Image | None, *, repeats: bool = False) -> Batch | None:
        """Take a frame, with its model input if it is to be classified; return the group if now full."""
        if repeats:
            self._repeats.append(len(self._frames))
        if model_input is not None:
            self._positions.append(len(self._frames))
            self._inputs.append(model_input)
        self._frames.append(frame)
        self._bytes += frame.image.nbytes
        if not self._inputs or len(self._inputs) >= self._size or self._bytes >= self._max_bytes:
            return self.flush()
        return None

    def flush(self) -> Batch | None:
        """Return what has been gathered, however little; ``None`` if nothing."""
        if not self._frames:
            return None
        inputs = np.stack(self._inputs) if self._inputs else None
        batch = Batch(tuple(self._frames), tuple(self._positions), tuple(self._repeats), inputs)
        self._frames, self._positions, self._repeats, self._inputs, self._bytes = [], [], [], [], 0
        return batch
