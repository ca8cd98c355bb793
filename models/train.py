"""Train a network on labelled images: in three stages on a pretrained base, or in one from scratch.

The three stages are the head on frozen features, then top blocks, then the head again. Each can be resumed:
what is done lies in the run's folder and is not done again. The code is plain Keras 3 and runs with the
TensorFlow and the JAX backend (``KERAS_BACKEND``), on a GPU when there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models import architectures
from models.architectures.normalisation import finalize_normalization
from models.batches import Batches, MakeView
from models.checkpoints import (
    hold_settings,
    load_best,
    load_network,
    noted,
    origin,
    read_record,
    save_whole,
    seed_layers,
)
from models.datasets import Sample, counts, division_of, of_split
from models.epochs import fit_epochs
from models.errors import DatasetError
from models.frozen import Features, features_of, fit_head, joined, smoothed, split, unfreeze
from models.metric_learning import fit_embedding
from models.metrics import CalibratedLoss
from models.optimizers import class_weight, make_head_optimizer, make_optimizer
from models.preprocessing import Preprocessing
from models.progress import verbosity
from models.report import make_folder
from models.settings import TrainingSettings
from models.views import plain_view, views

REFIT, LAST_REFIT = "refit", "last_refit"
"""Stage three without and with the validation images, which is done first: with the other all is."""


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """What layers that are built meanwhile compute in: ``float32`` or ``bfloat16``; weights stay single."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Training:
    """One run in ``folder``: stages, checkpoints and logs.

    ``samples`` must hold the splits ``train`` and ``valid``; ``division`` tells which images they are, and a
    run that goes on has to find the same (see ``division_of``). ``fit`` returns the model of the epoch with
    the lowest validation loss, in stage two once it is calibrated (see ``CalibratedLoss``). ``initialise``
    fills the network with the weights to start from; without it they are what the settings say, with those
    of ImageNet downloaded. ``start_from`` names the model whose weights these are, if they are those of a
    model.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        folder: Path,
        settings: TrainingSettings,
        *,
        initialise: Callable[[Any], None] | None = None,
        start_from: str | None = None,
        verbose: int | str = "auto",
    ) -> None:
        self.train = of_split(samples, "train")
        self.valid = of_split(samples, "valid")
        if not self.train or not self.valid:
            raise DatasetError(
                f"training needs the splits train and valid; found {counts(samples)} "
                "(--valid-fraction takes a share of the others for valid)"
            )
        self.labels = tuple(sorted({sample.label for sample in self.train}))
        if len(self.labels) < 2:
            raise DatasetError(f"training needs two labels or more; found {self.labels[0]!r} alone")
        if odd := [label for label in self.labels if label != label.encode(errors="ignore").decode()]:
            raise DatasetError(
                f"no model can store the label {odd[0]!r}, which is not UTF-8; rename its folder"
            )
        strangers = sorted({sample.label for sample in self.valid} - set(self.labels))
        if strangers:
            raise DatasetError(f"validation images have labels without training images: {strangers}")
        self.folder = folder
        self.settings = settings
        self.architecture = architectures.find(settings.architecture)
        self.counts = counts([*self.train, *self.valid])
        self._initialise = initialise
        self.division = division_of(samples)
        self._origin = origin([*self.train, *self.valid], self.labels, start_from, self.division)
        self._verbose = verbosity(verbose)
        self._train_view, self._valid_view = views(settings)
        make_folder(folder)

    @property
    def options(self) -> dict[str, Any]:
        """What the architecture has to be told to build this run's network again."""
        return self.architecture.complete(self.settings.options)

    def fit(self) -> Any:
        """Do what is left of the stages and return the best network (its output is logits)."""
        settings = self.settings
        keras.utils.set_random_seed(settings.seed)
        hold_settings(self.folder, asdict(settings), self._origin)
        with self._noted():
            if self.architecture.embedding_loss is not None:
                best = self._fit_embedding()
            elif settings.weights == "none":
                best = self._fit_epochs(lambda: self._copy_in(settings.precision, self.build()))
            else:
                if not (self.folder / "head.keras").is_file():
                    self._fit_head()
                if settings.unfreeze and settings.epochs:
                    best = self._fit_epochs(self._unfrozen)
                else:
                    best = self.folder / "head.keras"
        return self._copy_in("float32", load_best(best))

    def refit(self, network: Any, preprocessing: Preprocessing) -> Any:
        """Stage three: fit the head of ``network`` to the training images as serving will see them.

        Random views at another size, from which the stages below have learnt, are not quite what the
        head gets in the end (Touvron et al., 2019, FixRes). Lies in ``refit.keras`` afterwards, and with
        ``learn_valid`` what ``last`` returns lies in ``last_refit.keras``.
        """
        done = self.folder / f"{REFIT}.keras"
        if not self.settings.refit_epochs:
            return network
        if not done.is_file():
            with self._noted():
                self._refit_head(network, preprocessing)
        return load_network(done)

    def last(self, refitted: Any) -> Any:
        """The network to store: ``refitted``, or with ``learn_valid`` one that learned from all images."""
        if not self.settings.learn_valid:
            return refitted
        return load_network(self.folder / f"{LAST_REFIT}.keras")

    def record(self) -> dict[str, Any]:
        """The training record: settings, data, versions, seconds of all sittings."""
        return read_record(self.folder)

    def build(self) -> Any:
        """The network with the weights to start from."""
        settings, model = self.settings, self._random()
        if self._initialise is not None:
            self._initialise(model)
        elif settings.weights == "imagenet" and self.architecture.load_weights is not None:
            self.architecture.load_weights(model, None)
        return model

    def _random(self) -> Any:
        settings = self.settings
        return self.architecture.build(
            len(self.labels), settings.preprocessing, any_size=True, **settings.options
        )

    def _copy_in(self, precision: str, network: Any) -> Any:
        """``network``, or where that was not the precision so far, a network like it that computes in it."""
        if self.settings.precision == "float32":
            return network
        with computing_in(precision):
            copy = self._random()
        copy.set_weights(network.get_weights())
        finalize_normalization(copy)
        for layer, original in zip(copy._flatten_layers(), network._flatten_layers(), strict=True):
            layer.trainable = original.trainable
        return copy

    def batches(self, samples: Sequence[Sample], view: MakeView, **options: Any) -> Batches:
        """What ``fit`` is fed with; ``options`` are those of ``Batches``."""
        return Batches(
            samples,
            self.labels,
            view,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            **options,
        )

    def _fit_head(self) -> None:
        """Stage one: pass every image through the frozen base once per view, then fit the head on that."""
        settings = self.settings
        model = self.build()
        if settings.head_epochs:
            base, head = split(model, self.architecture.features)
            seen = [
                self._features(
                    base,
                    self.train,
                    self._train_view,
                    first_epoch=number,
                    label_smoothing=settings.label_smoothing,
                )
                for number in range(settings.head_views)
            ]
            valid = self._features(base, self.valid, self._valid_view)
            self._fit_on_features(
                head,
                seen,
                valid,
                settings.head_epochs,
                make_head_optimizer(settings),
                "head",
                patience=0 if settings.unfreeze else settings.patience,
            )
            base.trainable = False
        save_whole(model, self.folder / "head.keras")

    def _fit_embedding(self) -> Path:
        """Train distances, which is short: what was stopped on the way begins anew. Returns the network's
        file."""
        settings, loss = self.settings, self.architecture.embedding_loss
        best = self.folder / "best.keras"
        if best.is_file() or loss is None:
            return best
        network = self.build()
        train = self.batches(self.train, self._train_view, shuffle=True)
        # in the same order in each epoch: a batch's pairs, and so its loss, hang on what is in it
        order = np.random.default_rng(settings.seed).permutation(len(self.valid))
        fit_embedding(
            network,
            self.architecture.features,
            loss,
            train,
            self.batches([self.valid[i] for i in order], self._valid_view),
            optimizer=make_optimizer(settings, settings.epochs * len(train)),
            epochs=settings.epochs,
            patience=settings.patience,
            folder=self.folder,
            verbose=self._verbose,
        )
        save_whole(network, best)
        return best

    def _fit_epochs(self, start: Callable[[], Any]) -> Path:
        """Stage two, or all of training from scratch: fit what ``start`` returns until it gets no better.

        Returns the file of the best network.
        """
        settings = self.settings
        return fit_epochs(
            start,
            partial(
                self.batches,
                self.train,
                self._train_view,
                shuffle=True,
                label_smoothing=settings.label_smoothing,
                mix=settings.mix,
                inset=settings.inset,
            ),
            self.batches(self.valid, self._valid_view),
            settings=settings,
            # from scratch early stopping is by the plain loss, which tells sooner when to stop
            metrics=["accuracy"] if settings.weights == "none" else ["accuracy", CalibratedLoss()],
            class_weight=self._class_weight(),
            folder=self.folder,
            verbose=self._verbose,
        )

    def _unfrozen(self) -> Any:
        """The network after stage one, trainable from the stage ``unfreeze`` upwards."""
        after_head = load_network(self.folder / "head.keras")
        model = self._copy_in(self.settings.precision, after_head)
        unfreeze(model, self.architecture.stages[self.settings.unfreeze])
        return model

    def _refit_head(self, network: Any, preprocessing: Preprocessing) -> None:
        settings = self.settings
        base, head = split(network, self.architecture.features)
        views = [partial(plain_view, preprocessing, view=view) for view in range(len(preprocessing.views))]
        smoothing = settings.label_smoothing
        train = [self._features(base, self.train, view, label_smoothing=smoothing) for view in views]
        valid = [self._features(base, self.valid, view) for view in views]
        fits = {REFIT: train}
        if settings.learn_valid:
            learnt = [(seen, smoothed(targets, smoothing)) for seen, targets in valid]
            fits = {LAST_REFIT: [joined(both) for both in zip(train, learnt, strict=True)]} | fits
        began = head.get_weights()
        for name, seen in fits.items():
            keras.utils.set_random_seed(settings.seed)
            seed_layers(network, settings.seed)
            head.set_weights(began)
            steps = settings.refit_epochs * -(-len(seen[0][0]) // settings.batch_size)
            optimizer = keras.optimizers.AdamW(
                keras.optimizers.schedules.CosineDecay(settings.head_learning_rate / 2, steps),
                weight_decay=settings.weight_decay,
            )
            self._fit_on_features(
                head, seen, joined(valid), settings.refit_epochs, optimizer, name, to_the_end=True
            )
            save_whole(network, self.folder / f"{name}.keras")

    def _features(self, base: Any, samples: Sequence[Sample], view: MakeView, **options: Any) -> Features:
        batches = self.batches(samples, view, **options)
        return features_of(base, batches, self._verbose, precision=self.settings.precision)

    def _fit_on_features(
        self,
        head: Any,
        seen: Sequence[Features],
        valid: Features,
        epochs: int,
        optimizer: Any,
        name: str,
        *,
        patience: int = 0,
        to_the_end: bool = False,
    ) -> None:
        fit_head(
            head,
            seen,
            valid,
            epochs=epochs,
            optimizer=optimizer,
            batch_size=self.settings.batch_size,
            class_weight=self._class_weight(),
            folder=self.folder,
            name=name,
            patience=patience,
            to_the_end=to_the_end,
            verbose=self._verbose,
        )

    def _class_weight(self) -> dict[int, float] | None:
        return class_weight(self.settings, self.labels, [sample.label for sample in self.train])

    def _noted(self) -> AbstractContextManager[None]:
        """Counts the time that is spent in it."""
        facts = {"settings": asdict(self.settings), "labels": self.labels, "images": self.counts}
        return noted(self.folder, facts)
