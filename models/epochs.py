"""Fit a whole network epoch by epoch, until it gets no better; what was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from models.checkpoints import Progress, epoch_callbacks, load_network
from models.optimizers import make_optimizer
from models.progress import EpochProgress
from models.settings import TrainingSettings


def fit_epochs(
    start: Callable[[], Any],
    train: Callable[..., keras.utils.PyDataset],
    valid: keras.utils.PyDataset,
    *,
    settings: TrainingSettings,
    metrics: Sequence[Any],
    class_weight: Mapping[int, float] | None,
    folder: Path,
    verbose: int = 0,
) -> Path:
    """Do what is left of the epochs of ``settings`` and return the file of the best network in ``folder``.

    ``start`` returns the network, whose output is logits, before its first epoch. ``train`` is told by
    ``first_epoch`` with which epoch, counted from 0, its batches begin.
    """
    progress = Progress.read(folder)
    if progress.over(settings.epochs, settings.patience):
        return folder / progress.best_file
    batches = train(first_epoch=progress.epoch)
    if progress.epoch:
        network = load_network(folder / progress.last_file, compiled=True)
    else:
        network = start()
        network.compile(
            optimizer=make_optimizer(settings, settings.epochs * len(batches)),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=metrics,
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
    network.fit(
        batches,
        validation_data=valid,
        initial_epoch=progress.epoch,
        epochs=settings.epochs,
        class_weight=class_weight,
        callbacks=[*epoch_callbacks(folder, progress, settings), EpochProgress(settings.epochs)],
        shuffle=False,
        verbose=verbose,
    )
    return folder / Progress.read(folder).best_file
