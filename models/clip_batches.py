"""Batches of windows to train on: of features that a frozen base made, or of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from models.augmentation import steady_view
from models.datasets import Image, read_image
from models.preprocessing import Preprocessing
from models.sequences import Window

Floats = npt.NDArray[np.float32]
KEPT_BYTES = 1 << 30
"""Of decoded frames, at most, in memory while a whole network is trained."""


def targets(chosen: Sequence[Window], labels: Sequence[str], smoothing: float = 0.0) -> Floats:
    """(N, classes) one-hot labels, softened by ``smoothing`` (Szegedy et al., 2016)."""
    rows = np.full((len(chosen), len(labels)), smoothing / len(labels), np.float32)
    for row, window in zip(rows, chosen, strict=True):
        row[labels.index(window.label)] += 1 - smoothing
    return rows


class FeatureWindows(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of (N, t, d) features and targets; each window is seen in one view, another in each epoch.

    ``features`` is (views, frames, d), ``table`` (windows, t) rows of it.
    """

    def __init__(
        self,
        features: Floats,
        table: npt.NDArray[np.int64],
        wanted: Floats,
        *,
        batch_size: int = 32,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self._features, self._table, self._wanted = features, table, wanted
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._table) / self._batch_size)

    def __getitem__(self, batch: int) -> tuple[Floats, Floats]:
        chosen = self._order[batch * self._batch_size : (batch + 1) * self._batch_size]
        return self._features[self._views[chosen, None], self._table[chosen]], self._wanted[chosen]

    def on_epoch_end(self) -> None:
        self._order = self._rng.permutation(len(self._table))
        self._views = self._rng.integers(0, len(self._features), len(self._table))


class PixelWindows(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of (N, t, h, w, 3) pixels of 0 to 255 and targets; with ``is_random`` changed.

    All frames of a window are changed alike, in another way in each epoch. Decoded frames are kept in memory
    while they fit.
    """

    def __init__(
        self,
        chosen: Sequence[Window],
        labels: Sequence[str],
        preprocessing: Preprocessing,
        *,
        batch_size: int = 8,
        seed: int = 1,
        shuffle: bool = False,
        is_random: bool = False,
        label_smoothing: float = 0.0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._windows = list(chosen)
        self._targets = targets(chosen, labels, label_smoothing)
        self._preprocessing = preprocessing
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._is_random = is_random
        self._images: dict[Path, Image] = {}
        self._bytes = 0
        self._epoch = first_epoch

    def __len__(self) -> int:
        return math.ceil(len(self._windows) / self._batch_size)

    def __getitem__(self, batch: int) -> tuple[Floats, Floats]:
        order = np.arange(len(self._windows))
        if self._shuffle:
            order = np.random.default_rng([self._seed, self._epoch]).permutation(order)
        chosen = order[batch * self._batch_size : (batch + 1) * self._batch_size]
        clips = np.stack([self._clip(int(index)) for index in chosen])
        return clips.astype(np.float32), self._targets[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1

    def _clip(self, index: int) -> Image:
        frames = self._windows[index].frames
        if not self._is_random:
            return np.stack([self._preprocessing.model_input(self._read(frame.path)) for frame in frames])
        change = steady_view(np.random.default_rng([self._seed, self._epoch, index]))
        return np.stack([self._preprocessing.model_input(change(self._read(frame.path))) for frame in frames])

    def _read(self, path: Path) -> Image:
        image = self._images.get(path)
        if image is None:
            image = read_image(path)
            if self._bytes + image.nbytes <= KEPT_BYTES:
                self._images[path] = image
                self._bytes += image.nbytes
        return image
