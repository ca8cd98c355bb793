"""Fit a network's head to the features that its base, which does not change, makes of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models.batches import Batches
from models.checkpoints import Progress
from models.errors import DivergedError
from models.forward import fastest
from models.progress import EpochProgress, Steps

Features = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""(N, features) that the base makes of N images, and their (N, classes) targets."""


def split(model: Any, features: str) -> tuple[Any, Any]:
    """The base up to the layer ``features``, and the head as a model of its own; both share the layers."""
    last = model.get_layer(features)
    inputs = x = keras.Input(last.output.shape[1:])
    for layer in model.layers[model.layers.index(last) + 1 :]:
        x = layer(x)
    return keras.Model(model.input, last.output), keras.Model(inputs, x)


def unfreeze(model: Any, first: str) -> None:
    """Make ``model`` trainable from its layer ``first`` upwards, but for batch normalisation."""
    trainable = False
    for layer in model.layers:
        trainable = trainable or layer.name == first
        layer.trainable = trainable
        for part in layer.layers if isinstance(layer, keras.Model) else [layer]:
            if isinstance(part, keras.layers.BatchNormalization):
                part.trainable = False


def features_of(base: Any, batches: Batches, verbose: int = 0, *, precision: str = "float32") -> Features:
    """Pass all ``batches`` through ``base`` once, which computes in ``precision`` where it can."""
    run = fastest(base, precision)
    steps = Steps(len(batches), "batch", verbose)
    features, targets = [], []
    for number in range(len(batches)):
        images, some_targets = batches[number]
        features.append(run(images.astype(np.float32)))
        targets.append(some_targets)
        steps.add(1)
    return np.concatenate(features), np.concatenate(targets)


def joined(parts: Sequence[Features]) -> Features:
    """All of ``parts`` one after the other."""
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def smoothed(targets: npt.NDArray[np.float32], smoothing: float) -> npt.NDArray[np.float32]:
    """(N, classes) one-hot ``targets`` softened as those of ``Batches``."""
    return np.asarray(targets * (1 - smoothing) + smoothing / targets.shape[1], np.float32)


def fit_head(
    head: Any,
    views: Sequence[Features],
    valid: Features,
    *,
    epochs: int,
    optimizer: Any,
    batch_size: int,
    class_weight: Mapping[int, float] | None,
    folder: Path,
    name: str,
    patience: int = 0,
    to_the_end: bool = False,
    verbose: int = 0,
) -> None:
    """Fit ``head``, one view of the images after the other; ends with its best weights by validation loss.

    It stops early after ``patience`` epochs without a better loss (0: never), or where that is no number.
    ``to_the_end`` it ends with its last ones: where the rate falls to nothing they are the best once they are
    calibrated, while the loss before that rises with the network's confidence. ``folder`` gets
    ``<name>_only.weights.h5`` and ``<name>_log.csv``. Raises DivergedError where no epoch has a loss.
    """
    kept = folder / f"{name}_only.weights.h5"
    kept.unlink(missing_ok=True)
    head.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    best = keras.callbacks.ModelCheckpoint(
        kept, monitor="val_loss", save_best_only=not to_the_end, save_weights_only=True
    )
    progress = Progress()
    while not progress.over(epochs, patience):
        epoch = progress.epoch
        features, targets = views[epoch % len(views)]
        history = head.fit(
            features,
            targets,
            batch_size=batch_size,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=valid,
            class_weight=class_weight,
            callbacks=[
                best,
                keras.callbacks.CSVLogger(folder / f"{name}_log.csv", append=epoch > 0),
                EpochProgress(epochs),
            ],
            verbose=verbose,
        )
        progress = progress.after(history.history["val_loss"][-1])
    if progress.best is None or (to_the_end and progress.has_diverged):
        raise DivergedError(folder)
    head.load_weights(kept)
