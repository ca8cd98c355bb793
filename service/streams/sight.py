"""Judges whether a camera can see: not when it is black, white or covered, nor when its picture stands still.

Pure: time is an argument. Costs a fraction of a millisecond per frame, whatever its size; only a frame that
looks like an earlier one is read as a whole.

A camera that repeats its picture does not send identical frames: measured with x264, each key frame differs
from what came before it, but every such group of pictures is to the bit like the one before. A still scene
is not, as its noise never comes back. So a picture is frozen while its frames were all seen before; and do
not move, or a film shown in a loop would be.
"""

from __future__ import annotations

import math
import zlib
from typing import Final

import cv2
import numpy as np

from service.types import Image, StreamState

THUMBNAIL: Final = (32, 18)
SAMPLE: Final = (256, 144)
"""Pixels that are looked at, about, width and height."""
SHARE: Final = 0.98
"""Of the thumbnail, that has to be alike: what a lens cover leaves is noise and a burnt-in clock."""
BAND: Final = 10
"""Levels of 256 within which pixels are alike; night scenes span more, noise and compression less."""
SEEN: Final = 512
"""Frames that are remembered: more than there are between two key frames."""
STILL: Final = 12
"""Levels of 256 by which a thumbnail of a frozen picture may pulse with its key frames."""
RETURNS_AFTER: Final = 0.3
"""Seconds for which a blind camera has to show something before it sees again: no flicker at dusk."""


class Sight:
    """Follows one connection, frame by frame.

    BLIND after ``blind_after`` seconds of nearly uniform frames, FROZEN after ``frozen_after`` seconds of
    frames that repeat earlier ones to the last bit, otherwise LIVE; 0 switches either judgement off.
    ``since`` is when the present judgement began to be true, ``obscured`` whether the last frame alone
    shows nothing.
    """

    def __init__(self, blind_after: float, frozen_after: float) -> None:
        self._blind_after = blind_after
        self._frozen_after = frozen_after
        self._state = StreamState.LIVE
        self._obscured_since: float | None = None
        self._clear_since: float | None = None
        self._still_since: float | None = None
        self._reference: Image | None = None
        self._seen: dict[tuple[tuple[int, ...], int], int | None] = {}
        self.since = 0.0
        self.obscured = False

    def look(self, image: Image, at: float) -> StreamState:
        """Judge by the next frame, seen at ``at`` seconds, which never run backwards."""
        sample = _sample(image)
        blind = bool(self._blind_after) and self._is_blind(sample, at)
        frozen = bool(self._frozen_after) and self._is_frozen(image, sample, at)
        state, since = StreamState.LIVE, at
        if blind and self._obscured_since is not None:
            state, since = StreamState.BLIND, self._obscured_since
        elif frozen and self._still_since is not None:
            state, since = StreamState.FROZEN, self._still_since
        if state is not self._state:
            self._state, self.since = state, since
        return state

    def _is_blind(self, sample: Image, at: float) -> bool:
        self.obscured = is_uniform(sample)
        blind = self._state is StreamState.BLIND
        if self.obscured:
            self._clear_since = None
            if self._obscured_since is None:
                self._obscured_since = at
            return blind or at - self._obscured_since >= self._blind_after
        if self._clear_since is None:
            self._clear_since = at
        if blind and at - self._clear_since < RETURNS_AFTER:
            return True
        self._obscured_since = None
        return False

    def _is_frozen(self, image: Image, sample: Image, at: float) -> bool:
        if not self._is_repeated(image, sample):
            self._still_since = None
            return False
        thumbnail = _thumbnail(sample)
        if self._still_since is None or self._reference is None or not _is_alike(thumbnail, self._reference):
            self._still_since, self._reference = at, thumbnail
        return at - self._still_since >= self._frozen_after

    def _is_repeated(self, image: Image, sample: Image) -> bool:
        """Whether the frame was seen before, which the third time is known for sure."""
        key = (image.shape, zlib.crc32(sample.data))
        if key not in self._seen:
            self._seen[key] = None
            if len(self._seen) > SEEN:
                del self._seen[next(iter(self._seen))]
            return False
        checksum = zlib.crc32(np.ascontiguousarray(image).data)
        before = self._seen.pop(key)
        self._seen[key] = checksum
        return before in (None, checksum)


def is_uniform(image: Image) -> bool:
    """Whether all but a few parts of the image are of nearly one colour."""
    levels = np.sort(_thumbnail(image).reshape(-1, 3).astype(np.int16), axis=0)
    alike = int(np.ceil(SHARE * len(levels)))
    narrowest = (levels[alike - 1 :] - levels[: len(levels) - alike + 1]).min(axis=0)
    return bool(narrowest.max() <= BAND)


def _sample(image: Image) -> Image:
    """Pixels spread evenly over the image, in memory of their own: the frame will be drawn on."""
    height, width = image.shape[:2]
    down, across = max(1, height // SAMPLE[1]), max(1, width // SAMPLE[0])
    size = (math.ceil(width / across), math.ceil(height / down))
    # Four times as fast as to copy a slice with steps.
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _thumbnail(image: Image) -> Image:
    return np.asarray(cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)


def _is_alike(one: Image, other: Image) -> bool:
    return bool(cv2.norm(one, other, cv2.NORM_INF) <= STILL)
