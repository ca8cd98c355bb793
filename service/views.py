"""Joins what a model says of a stream's frames, which it sees in several views in turn, one view a frame.

Pure. The answer to a frame is pooled from the newest answer in each view, as ``models.evaluate`` judges an
image, so that it hangs neither on whose turn it is nor on which frames are left out. A model with one view is
not touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from models.opinion_pool import log_opinion_pool, pool_beside
from service.types import Image, Preprocessor, Probabilities


class ViewTurns:
    """Makes the model inputs of one stream's frames, in each view in turn."""

    def __init__(self) -> None:
        self._view = 0

    def model_input(self, preprocessor: Preprocessor, image: Image, first: Image | None = None) -> Image:
        """``first`` is the input in the first view, where it has been made already."""
        view, self._view = self._view, (self._view + 1) % preprocessor.views
        return first if view == 0 and first is not None else preprocessor.model_input(image, view)


class ViewPool:
    """The newest answers of one stream, as many as there are ``views``, as one."""

    def __init__(self, views: int) -> None:
        self._newest: deque[Probabilities] = deque(maxlen=views)
        self._meaning: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def update(
        self, answer: Probabilities, labels: Sequence[str], shadows: Sequence[str] = ()
    ) -> Probabilities:
        """Take in the newest answer, (labels + shadows,), laid out as in ``Judgement``; return all as one.

        Answers that were about other labels or shadows are forgotten.
        """
        meaning = (tuple(labels), tuple(shadows))
        if meaning != self._meaning:
            self.reset()
            self._meaning = meaning
        self._newest.append(answer)
        answers = np.stack(self._newest)
        of_labels, of_shadows = answers[:, : len(labels)], answers[:, len(labels) :]
        return np.concatenate([log_opinion_pool(of_labels), pool_beside(of_shadows, of_labels)])

    def reset(self) -> None:
        """Forget all answers: after a cut in what is seen."""
        self._newest.clear()
