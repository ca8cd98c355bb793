"""Where in a video of fixed rate a picture goes: to the slot that its time wants."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import BinaryIO, Final

from service.sinks.avi import AviWriter
from service.types import SQUARE

LONGEST_HOLE: Final = 60.0
"""Seconds that one picture is repeated at most: a clock that jumps must not fill the disk."""


class Timeline:
    """Puts JPEG pictures of one size into an AVI file of ``rate`` frames per second.

    Slot 0 is at ``origin``, in seconds of media time. As long as each picture's slot is within ``slack``
    seconds of its ``pts``, they go one to a slot, so that video of constant rate keeps its frames. From the
    first that is not, every picture goes where its time wants it: the one before is repeated up to there, and
    of those that share a slot only one is written.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        rate: Fraction,
        *,
        pixel_aspect: Fraction = SQUARE,
        origin: float = 0.0,
        slack: float = 0.0,
    ) -> None:
        self.writer = AviWriter(file, width, height, rate, pixel_aspect=pixel_aspect)
        self._rate = float(rate)
        self._origin = origin
        self._slack = slack * self._rate
        self._last: bytes | None = None

    def place(self, jpeg: bytes, pts: float, dropped: int = 0) -> None:
        """Take the next picture, before which the source has dropped so many frames.

        Raises what ``AviWriter.write`` does.
        """
        written = self.writer.frames
        due = (pts - self._origin) * self._rate
        excess = due - written - math.ceil(LONGEST_HOLE * self._rate)
        if excess > 0:
            self._origin += excess / self._rate
            due -= excess
        slot = written + dropped
        if abs(due - slot) > self._slack:
            self._slack = 0.0
            slot = round(due)
        while self.writer.frames < slot:
            self.writer.write(self._last or jpeg)
        if self.writer.frames == slot:
            self.writer.write(jpeg)
        self._last = jpeg
