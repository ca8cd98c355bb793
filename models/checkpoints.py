"""What a run leaves after each epoch, so that it can go on from there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from models.datasets import Sample
from models.errors import DivergedError, ModelError
from models.settings import TrainingSettings

STATE = "state.json"
LOG = "log.csv"
CONTENTS = "contents"


def hold_settings(folder: Path, settings: Mapping[str, Any], begun_with: Mapping[str, Any]) -> None:
    """Store what a new run is made of; raise ModelError where the run in ``folder`` is of something else.

    ``begun_with`` is what earlier versions did not store (see ``origin``): a run of theirs goes on without.
    Of settings that came later it has the defaults.
    """
    path = folder / "settings.json"
    wanted = json.loads(json.dumps({**settings, **begun_with}))
    if not path.is_file():
        write_whole(path, json.dumps(wanted, indent=1) + "\n")
    found = json.loads(json.dumps(asdict(TrainingSettings()))) | _read_object(path)
    unknown = begun_with.keys() - found.keys()
    other = [name for name in wanted if name not in unknown and found.get(name) != wanted[name]]
    if other == [CONTENTS]:
        raise ModelError(
            f"the images that the run in {folder} was begun with have changed since; choose another folder "
            "or remove this one"
        )
    if other:
        raise ModelError(
            f"{folder} holds a run with another {', '.join(other)}; choose another folder or remove this one"
        )


def origin(
    samples: Iterable[Sample], labels: tuple[str, ...], start_from: str | None, division: Mapping[str, str]
) -> dict[str, Any]:
    """What tells a run from another: ``data`` is the SHA-256 of paths, labels and splits of its images.

    ``contents`` is that of what the images for training and validation are in ``division``, which has them
    in the order of their paths.
    """
    rows = sorted(f"{one.path.absolute()}\t{one.label}\t{one.split}" for one in samples)
    contents = (division["train"], division["valid"])
    return {"data": _digest(rows), "labels": labels, "start_from": start_from, CONTENTS: _digest(contents)}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """The training record of a run."""
    return _read_object(folder / "training.json")


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
    """The network that a training has kept. Raises ModelError where it never had a loss, or is damaged."""
    if not path.is_file():
        raise DivergedError(path.parent)
    return load_network(path)


def load_network(path: Path, *, compiled: bool = False) -> Any:
    """What ``save_whole`` has stored, with its optimizer if ``compiled``; raises ModelError if damaged."""
    try:
        return keras.models.load_model(path, compile=compiled)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path) from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise _damaged(path) from error
    return content


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged; remove {path.parent} to begin anew, or choose another folder")


@dataclass(frozen=True, slots=True)
class Progress:
    """Epochs done, the lowest validation loss so far and the number of epochs after which it came.

    ``has_diverged`` tells that the last loss was no number, which ends a training. ``last_file`` and
    ``best_file`` are the names of the networks after the last and after the best epoch; earlier versions
    named them as the defaults do.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    has_diverged: bool = False
    last_file: str = "last.keras"
    best_file: str = "best.keras"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Where the run in ``folder`` is: at its beginning if there is nothing to go on from."""
        state = folder / STATE
        if not state.is_file():
            return cls()
        fields = _read_object(state)
        progress = cls(**({"best_epoch": fields["epoch"]} | fields))
        return progress if (folder / progress.last_file).is_file() else cls()

    def write(self, folder: Path) -> None:
        """Make this what the run goes on from; networks of other epochs are of no use any more."""
        write_whole(folder / STATE, json.dumps(asdict(self), allow_nan=False))
        for name in ("last", "best"):
            for network in folder.glob(f"{name}*.keras"):
                if network.name not in (self.last_file, self.best_file):
                    network.unlink()

    def after(self, loss: float) -> Progress:
        """The next epoch is done, with this validation loss."""
        epoch = self.epoch + 1
        done = replace(
            self, epoch=epoch, has_diverged=not math.isfinite(loss), last_file=f"last-{epoch}.keras"
        )
        if done.has_diverged or (self.best is not None and loss >= self.best):
            return done
        return replace(done, best=loss, best_epoch=epoch, best_file=f"best-{epoch}.keras")

    def over(self, epochs: int, patience: int) -> bool:
        """Whether ``epochs`` are done, ``patience`` of them brought nothing, or the loss was no number."""
        is_stuck = bool(patience and self.epoch - self.best_epoch >= patience)
        return self.epoch >= epochs or is_stuck or self.has_diverged


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
    ]


def write_log(path: Path, epoch: int, figures: Mapping[str, Any]) -> None:
    """Put the figures of ``epoch``, counted from 0, below those of the epochs before it, and nothing else.

    What else there is a kill has left of this epoch, which is done anew.
    """
    rows: list[Mapping[str, Any]] = []
    if path.is_file():
        with path.open(newline="") as file:
            rows += [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *sorted(figures)], lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, {"epoch": epoch, **figures}])
    write_whole(path, text.getvalue())


def seed_layers(model: Any, seed: int, epoch: int = 0) -> None:
    """Let what is random in the layers of ``model`` from now on, such as dropout, hang on these alone.

    A stored network comes back with other random states than it had, as Keras does not store them.
    """
    states = (variable for variable in model.variables if variable.name == "seed_generator_state")
    for number, state in enumerate(states):
        state.assign(np.random.SeedSequence([seed, epoch, number]).generate_state(2))


class SeededEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Lets what is random in the layers, such as dropout, hang on ``seed`` and the epoch alone."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seed_layers(self.model, self._seed, epoch)


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """Stores the best model, the last one with its optimizer and the log, then how far the run is.

    That names the others and is one file, so that a kill at any moment undoes an epoch as a whole.
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
                save_whole(self.model, self._folder / progress.best_file)
        save_whole(self.model, self._folder / progress.last_file)
        write_log(self._folder / LOG, epoch, logs)
        progress.write(self._folder)
        self._progress = progress
        if progress.over(self._epochs, self._patience):
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
