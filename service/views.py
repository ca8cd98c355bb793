"""Joins what a model says of a stream's frames, which it sees in several views in turn, one view a frame.

Pure. The answer to a frame is the mean of the newest answer in each view, so that it hangs neither on whose
turn it is nor on which frames are left out. A model with one view is not touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import numpy as np

from service.types import Image, Preprocessor, Probabilities


class ViewTurns:
    """Makes the model inputs of one stream's frames, in each view in turn."""

    def __init__(self) -> None:
        self._view = 0

    def model_input(self, preprocessor: Preprocessor, image: Image, first: Image | None = None) -> Image:
        """``first`` is the input in the first view, where it has been made already."""
        view, self._view = self._view, (self._view + 1) % preprocessor.views
        return first if view == 0 and first is not None else preprocessor.model_input(image, view)


class ViewMean:
    """Mean over the newest answers of one stream, as many as there are ``views``."""

    def __init__(self, views: int) -> None:
        self._newest: deque[Probabilities] = deque(maxlen=views)
        self._meaning: Hashable = None

    def update(self, answer: Probabilities, meaning: Hashable) -> Probabilities:
        """Take in the newest answer, (columns,); ``meaning`` is what its columns stand for.

        Answers that meant something else are forgotten.
        """
        if meaning != self._meaning:
            self.reset()
            self._meaning = meaning
        self._newest.append(answer)
        return np.mean(self._newest, axis=0, dtype=np.float32) if len(self._newest) > 1 else answer

    def reset(self) -> None:
        """Forget all answers: after a cut in what is seen."""
        self._newest.clear()
