"""Batches of labelled images for Keras, which this module imports; serving does without it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import numpy.typing as npt

from models.augmentation import inset, mixed
from models.datasets import BACKGROUND, Sample, read_image
from models.errors import DatasetError
from models.preprocessing import Image

MakeView = Callable[[Image, np.random.Generator], Image]

_OF_BATCH = 1
"""Tells the randomness of a batch from that of the images in it."""
_IN_BACKGROUND = 0.6
"""The share of insets that are shown in a picture of something else rather than of their own label."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of (images, one-hot labels) for ``fit``, the same for the same seed and epoch.

    ``view`` turns a decoded image into an h×w×3 model input. Images are (batch, h, w, 3) ``uint8`` BGR,
    labels (batch, classes) ``float32``, softened by ``label_smoothing`` (Szegedy et al., 2016);
    those of a share ``mix`` of the batches are mixed with one another. A share ``inset`` of the images is
    shown small in another one's view, of ``background`` or of the same label.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: Sequence[str],
        view: MakeView,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 1,
        label_smoothing: float = 0.0,
        mix: float = 0.0,
        inset: float = 0.0,
        first_epoch: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers, max_queue_size=8)
        self._samples = list(samples)
        self._index_of = {label: index for index, label in enumerate(labels)}
        unknown = {sample.label for sample in samples} - self._index_of.keys()
        if unknown:
            raise DatasetError(f"labels {sorted(unknown)} are not among {list(labels)}")
        self._view = view
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._smoothing = label_smoothing
        self._mix = mix
        self._inset = inset
        self._of_label: dict[str, list[int]] = {label: [] for label in labels}
        for number, sample in enumerate(samples):
            self._of_label[sample.label].append(number)
        self._epoch = first_epoch
        self._order = self._make_order()

    def __len__(self) -> int:
        return math.ceil(len(self._samples) / self._batch_size)

    def __getitem__(self, batch: int) -> tuple[Image, npt.NDArray[np.float32]]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        images = [self._image(i, np.random.default_rng([self._seed, self._epoch, i])) for i in chosen]
        classes = len(self._index_of)
        targets = np.full((len(chosen), classes), self._smoothing / classes, np.float32)
        for row, i in enumerate(chosen):
            targets[row, self._index_of[self._samples[i].label]] += 1 - self._smoothing
        rng = np.random.default_rng([self._seed, self._epoch, batch, _OF_BATCH])
        if rng.random() < self._mix:
            return mixed(np.stack(images), targets, rng)
        return np.stack(images), targets

    def _image(self, i: int, rng: np.random.Generator) -> Image:
        view = self._view(read_image(self._samples[i].path), rng)
        if not self._inset or rng.random() >= self._inset:
            return view
        anywhere = rng.random() < _IN_BACKGROUND and self._of_label.get(BACKGROUND)
        others = anywhere or self._of_label[self._samples[i].label]
        other = self._samples[others[int(rng.integers(len(others)))]]
        return inset(view, self._view(read_image(other.path), rng), rng)

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._make_order()

    def _make_order(self) -> npt.NDArray[np.int64]:
        if not self._shuffle:
            return np.arange(len(self._samples))
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._samples))
