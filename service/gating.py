"""Tells frames that look like the last classified one, so that they need not be classified themselves.

Pure: time is an argument. A frame is compared by the mean luminance of small blocks. The greatest difference
of any block counts and not that of the whole picture: a far player who moves changes few blocks by much,
while the noise of a sensor or an encoder changes all of them by little.

Only for models that judge every frame by itself: one that judges clips has to see the frames between.

What may be missed is bounded: the comparison is always with the last classified frame, so that a slow change
adds up until it shows, and the next frame is classified in any case once that one is two seconds old or is to
weigh more than a quarter of the window.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from service.types import Image

BLOCKS: Final = 28
"""Blocks per side: 8×8 pixels of a model input of 224×224, a thousandth of the picture each."""
OPENS_AT: Final = 5
"""Levels of 256. Still scenes of 640×360 stayed below it with Gaussian noise of 15 levels on each pixel, and
with noise of 6 after H.264 at 200 kbit/s; at usual qualities below 2.5. 20 levels of contrast on the area of
a block reach it wherever they are."""
LONGEST: Final = 2.0
"""Seconds of media time for which a classification may stand for later frames."""
WEIGHT: Final = 0.25
"""Share of the averaging window that may rest on one classification: too little to start or end an event."""


class Gate:
    """Decides for the model inputs of one stream, in order, which of them are to be classified."""

    def __init__(self, *, frames: float = math.inf, seconds: float = LONGEST, views: int = 1) -> None:
        """An input passes if a block differs by ``OPENS_AT`` levels or more.

        One also passes after ``frames`` in a row have been held back, and ``seconds`` after the last. With
        each the next ones pass too, until the scene has been seen in all ``views`` of the model.
        """
        self._frames = frames
        self._seconds = seconds
        self._views = views
        self._due = 0
        self._held = 0
        self._passed_at = 0.0
        self._reference: Image | None = None

    @classmethod
    def for_window(cls, window: int, seconds: float | None, views: int = 1) -> Gate:
        """A gate before an average over ``window`` predictions, or over those of so many ``seconds``.

        What is held back takes over the mean of all ``views``: each classification bears its share of it.
        """
        share = WEIGHT * views
        if seconds is not None:
            return cls(seconds=min(LONGEST, share * seconds), views=views)
        return cls(frames=max(0, math.floor(share * window) - views), views=views)

    def passes(self, model_input: Image, pts: float) -> bool:
        """Whether an H×W×3 ``uint8`` BGR input, always of the same view, at ``pts`` is to be classified.

        Later ones are compared with it if so; otherwise what was said of the last that passed holds for it.
        """
        blocks = _blocks(model_input)
        if self._due:
            self._due -= 1
        elif self._is_like_the_last(blocks, pts):
            self._held += 1
            return False
        else:
            self._due = self._views - 1
        self._reference, self._passed_at, self._held = blocks, pts, 0
        return True

    def reset(self) -> None:
        """Forget the last input, of which nothing is known any more: the next one passes."""
        self._reference = None
        self._due = 0

    def _is_like_the_last(self, blocks: Image, pts: float) -> bool:
        # Time that runs backwards is a new beginning.
        return (
            self._reference is not None
            and self._held < self._frames
            and 0 <= pts - self._passed_at < self._seconds
            and cv2.norm(blocks, self._reference, cv2.NORM_INF) < OPENS_AT
        )


def _blocks(model_input: Image) -> Image:
    luminance = cv2.cvtColor(model_input, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(luminance, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA), np.uint8)
