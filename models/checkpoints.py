"""What a run leaves after each epoch, so that it can go on from there."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from models.datasets import Sample
from models.errors import DivergedError, ModelError
from models.settings import TrainingSettings


def hold_settings(folder: Path, settings: Mapping[str, Any], begun_with: Mapping[str, Any]) -> None:
    """Store what a new run is made of; raise ModelError where the run in ``folder`` is of something else.

    ``begun_with`` is what earlier versions did not store (see ``origin``): a run of theirs goes on without.
    Of settings that came later it has the defaults.
    """
    path = folder / "settings.json"
    wanted = json.loads(json.dumps({**settings, **begun_with}))
    if not path.is_file():
        write_whole(path, json.dumps(wanted, indent=1) + "\n")
    found = json.loads(json.dumps(asdict(TrainingSettings()))) | json.loads(path.read_text())
    unknown = begun_with.keys() - found.keys()
    other = ", ".join(name for name in wanted if name not in unknown and found.get(name) != wanted[name])
    if other:
        raise ModelError(
            f"{folder} holds a run with another {other}; choose another folder or remove this one"
        )


def origin(samples: Iterable[Sample], labels: tuple[str, ...], start_from: str | None) -> dict[str, Any]:
    """What tells a run from another: ``data`` is the SHA-256 of paths, labels and splits of its images."""
    rows = sorted(f"{one.path.absolute()}\t{one.label}\t{one.split}" for one in samples)
    data = hashlib.sha256("\n".join(rows).encode(errors="surrogateescape")).hexdigest()
    return {"data": data, "labels": labels, "start_from": start_from}


def read_record(folder: Path) -> dict[str, Any]:
    """The training record of a run."""
    record: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return record


@contextmanager
def noted(folder: Path, facts: Mapping[str, Any]) -> Iterator[None]:
    """Write the training record when this ends or is interrupted: ``facts``, versions, and the seconds that
    it took, added to those of earlier sittings."""
    started = time.monotonic()
    try:
        yield
    finally:
        _note(folder, facts, time.monotonic() - started)


def _note(folder: Path, facts: Mapping[str, Any], seconds: float) -> None:
    path = folder / "training.json"
    if path.is_file():
        seconds += read_record(folder)["seconds"]
    versions = {"backend": keras.backend.backend(), "keras": keras.__version__}
    write_whole(path, json.dumps({**facts, **versions, "seconds": round(seconds, 1)}, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, whenever the process is killed."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text(text)
    unfinished.replace(path)


def save_whole(model: Any, path: Path) -> None:
    """Store a Keras model at ``path``, which ends in ``.keras``, as a whole or not at all."""
    unfinished = path.with_suffix(".new.keras")
    model.save(unfinished)
    unfinished.replace(path)


def load_best(path: Path) -> Any:
    """The network that a training has kept. Raises ModelError where it never had a loss."""
    if not path.is_file():
        raise DivergedError(path.parent)
    return keras.models.load_model(path, compile=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """Epochs done, the lowest validation loss so far and the number of epochs after which it came."""

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        fields = json.loads(path.read_text())
        return cls(fields["epoch"], fields["best"], fields.get("best_epoch", fields["epoch"]))

    def after(self, loss: float) -> Progress:
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            return Progress(self.epoch + 1, loss, self.epoch + 1)
        return Progress(self.epoch + 1, self.best, self.best_epoch)

    def over(self, epochs: int, patience: int) -> bool:
        """Whether ``epochs`` are done, or ``patience`` of them have brought nothing."""
        return self.epoch >= epochs or bool(patience and self.epoch - self.best_epoch >= patience)


def epoch_callbacks(folder: Path, progress: Progress, settings: TrainingSettings) -> list[Any]:
    """What ``fit`` calls in each epoch: seeds, checkpoints, the log, and the averaged weights for validation.

    With ``shuffle=False``, as the batches have an order of their own, a run that was stopped comes to the
    very weights of one that was not.
    """
    averaged = [keras.callbacks.SwapEMAWeights()] if settings.weight_average else []
    return [
        SeededEpochs(settings.seed),
        *averaged,
        Checkpoints(folder, progress, epochs=settings.epochs, patience=settings.patience),
        keras.callbacks.CSVLogger(folder / "log.csv", append=progress.epoch > 0),
    ]


class SeededEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Lets what is random in the layers, such as dropout, hang on ``seed`` and the epoch alone."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        states = (variable for variable in self.model.variables if variable.name == "seed_generator_state")
        for number, state in enumerate(states):
            state.assign(np.random.SeedSequence([self._seed, epoch, number]).generate_state(2))


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """Stores the best model, the last one with its optimizer, then how far the run is.

    The best has the lowest validation loss, calibrated where ``fit`` tells that.
    A loss that is no number ends the training: the weights that make it are lost.
    The best one has the moving average of the weights where the optimizer keeps one.
    """

    def __init__(self, folder: Path, progress: Progress, *, epochs: int, patience: int) -> None:
        super().__init__()
        self._folder = folder
        self._progress = progress
        self._epochs = epochs
        self._patience = patience

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        loss = float(logs.get("val_calibrated_loss", logs["val_loss"]))
        progress = self._progress.after(loss)
        if progress.best_epoch == progress.epoch:
            with averaged_weights(self.model):
                save_whole(self.model, self._folder / "best.keras")
        save_whole(self.model, self._folder / "last.keras")
        write_whole(self._folder / "state.json", json.dumps(asdict(progress)))
        self._progress = progress
        if progress.over(self._epochs, self._patience) or not math.isfinite(loss):
            self.model.stop_training = True


@contextmanager
def averaged_weights(model: Any) -> Iterator[None]:
    """Put the moving average of the weights in their place meanwhile, where the optimizer keeps one."""
    if not model.optimizer.use_ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()
