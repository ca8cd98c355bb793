"""Train networks that judge windows of frames: a head on kept features of a frozen base, or the whole.

With a frozen base every frame goes through it once per view, whatever heads are tried afterwards. Like
``train``, what is done lies in the run's folder and is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models import architectures
from models.architectures.architecture import Kind
from models.architectures.clips import STATISTICS, ClipParts, cut, encoder_of, set_statistics
from models.artifact import round_weights
from models.checkpoints import hold_settings, load_best, load_network, noted, origin, read_record, save_whole
from models.clip_batches import FeatureWindows, PixelWindows, targets
from models.datasets import Sample, counts, division_of
from models.epochs import fit_epochs
from models.errors import DatasetError, DivergedError, ModelError
from models.export import Judged
from models.features import FrameFeatures
from models.optimizers import class_weight, make_head_optimizer
from models.progress import EpochProgress, verbosity
from models.report import make_folder
from models.sequences import VideoFrame, Window, of_split, windows
from models.settings import TrainingSettings

Floats = npt.NDArray[np.float32]
AUGMENTATIONS = ("none", "clip")
"""``clip`` changes all frames of a window alike."""


class ClipTraining:
    """One run in ``folder`` on ``frames`` with the splits ``train`` and ``valid``.

    ``stride`` is the distance of a window's frames. ``features`` is the folder of kept features.
    ``initialise``, ``start_from`` and ``division``, which is of last frames, are as in ``train.Training``.
    """

    def __init__(
        self,
        frames: Sequence[VideoFrame],
        folder: Path,
        settings: TrainingSettings,
        *,
        stride: int = 1,
        features: Path | None = None,
        initialise: Callable[[Any], None] | None = None,
        start_from: str | None = None,
        verbose: int | str = "auto",
    ) -> None:
        self.architecture = architectures.find(settings.architecture)
        if self.architecture.kind is not Kind.CLIP:
            raise ModelError(f"{settings.architecture} judges single frames; clips need a clip network")
        if settings.augmentation not in AUGMENTATIONS:
            raise ModelError(
                f"no augmentation {settings.augmentation!r} of clips; there are {', '.join(AUGMENTATIONS)}"
            )
        self.options = self.architecture.complete(settings.options)
        self.windows = windows(frames, self.options["frames"], stride)
        self.train = of_split(self.windows, "train")
        self.valid = of_split(self.windows, "valid")
        if not self.train or not self.valid:
            raise DatasetError(
                f"training needs windows of {self.options['frames']} consecutive frames in the splits train "
                f"and valid; found {counts([window.sample for window in self.windows])} ('video-events data "
                "split' gives whole videos to each; --option frames=N makes windows shorter)"
            )
        self.labels = tuple(sorted({window.label for window in self.train}))
        if len(self.labels) < 2:
            raise DatasetError(f"training needs two labels or more; found {self.labels[0]!r} alone")
        strangers = sorted({window.label for window in self.valid} - set(self.labels))
        if strangers:
            raise DatasetError(f"validation windows have labels without training windows: {strangers}")
        self.folder = folder
        self.settings = settings
        self.stride = stride
        self._features = features or folder / "features"
        self._initialise = initialise
        self.division = division_of(window.sample for window in self.windows)
        self._origin = origin(
            [window.sample for window in (*self.train, *self.valid)], self.labels, start_from, self.division
        )
        self._verbose = verbosity(verbose)
        make_folder(folder)

    def fit(self) -> Any:
        """Do what is left and return the network of the lowest validation loss; its output is logits."""
        settings = self.settings
        keras.utils.set_random_seed(settings.seed)
        hold_settings(self.folder, asdict(settings) | {"stride": self.stride}, self._origin)
        with noted(self.folder, self._facts()):
            if settings.weights == "none":
                best = self._fit_whole(self.build)
            else:
                if not (self.folder / "head.keras").is_file():
                    self._fit_head()
                if settings.unfreeze and settings.epochs:
                    best = self._fit_whole(self._unfrozen)
                else:
                    best = self.folder / "head.keras"
        return load_best(best)

    def judge(self, network: Any, split: str) -> Judged:
        """Logits of ``network`` for every window of ``split``, which its last frame stands for."""
        chosen = of_split(self.windows, split)
        if not chosen:
            raise DatasetError(f"there is no window of {self.options['frames']} frames in the split {split}")
        parts = cut(network, self.settings.preprocessing)
        if parts.encode is None:
            batches = PixelWindows(chosen, self.labels, self.settings.preprocessing, batch_size=8)
            rows = [network.predict_on_batch(batches[number][0]) for number in range(len(batches))]
            logits = np.concatenate([np.asarray(row) for row in rows])
        else:
            features, table = self._gathered(parts.encode, chosen, views=1)
            logits = np.asarray(parts.decide.predict(features[0][table], batch_size=64, verbose=0))
        return Judged(self.labels, [window.sample for window in chosen], logits[np.newaxis])

    def record(self) -> dict[str, Any]:
        """The training record: settings, data, versions, seconds of all sittings."""
        return read_record(self.folder)

    def build(self) -> Any:
        """The network with the weights to start from."""
        settings = self.settings
        network = self.architecture.build(len(self.labels), settings.preprocessing, **settings.options)
        if self._initialise is not None:
            self._initialise(network)
        elif settings.weights == "imagenet" and self.architecture.load_weights is not None:
            self.architecture.load_weights(network, None)
        return network

    def _fit_head(self) -> None:
        """Pass every frame through the base once per view, then fit the head on windows of that."""
        settings = self.settings
        network = self.build()
        names = [layer.name for layer in encoder_of(network).layers]
        if settings.unfreeze not in ("", "base", *names):
            raise ModelError(
                f"the base has no layer {settings.unfreeze!r} to unfreeze from; 'base' is all of it"
            )
        round_weights(
            encoder_of(network)
        )  # so that the stored model, when it is judged, has the same features
        parts = cut(network, settings.preprocessing)
        views = 1 if settings.augmentation == "none" else max(1, settings.head_views)
        features, table = self._gathered(parts.encode, self.train, views=views)
        set_statistics(network, features)
        if settings.head_epochs:
            self._fit_on_features(parts, features, table)
        encoder_of(network).trainable = False
        save_whole(network, self.folder / "head.keras")

    def _fit_on_features(self, parts: ClipParts, features: Floats, table: npt.NDArray[np.int64]) -> None:
        settings, head = self.settings, parts.decide
        valid_features, valid_table = self._gathered(parts.encode, self.valid, views=1)
        head.compile(
            optimizer=make_head_optimizer(settings),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        best = self.folder / "head_only.weights.h5"
        best.unlink(missing_ok=True)
        callbacks = [
            keras.callbacks.ModelCheckpoint(
                best, monitor="val_loss", save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.CSVLogger(self.folder / "head_log.csv"),
            EpochProgress(settings.head_epochs),
        ]
        if settings.patience:
            callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=settings.patience))
        head.fit(
            FeatureWindows(
                features,
                table,
                self._targets(self.train, settings.label_smoothing),
                batch_size=settings.batch_size,
                seed=settings.seed,
            ),
            epochs=settings.head_epochs,
            validation_data=(valid_features[0][valid_table], self._targets(self.valid)),
            class_weight=self._class_weight(),
            callbacks=callbacks,
            shuffle=False,
            verbose=self._verbose,
        )
        if not best.is_file():
            raise DivergedError(self.folder)
        head.load_weights(best)

    def _fit_whole(self, start: Callable[[], Any]) -> Path:
        """Train on windows of pixels until it gets no better; returns the file of the best network."""
        settings = self.settings
        batches = partial(
            PixelWindows,
            labels=self.labels,
            preprocessing=settings.preprocessing,
            batch_size=settings.batch_size,
        )
        return fit_epochs(
            start,
            partial(
                batches,
                self.train,
                seed=settings.seed,
                shuffle=True,
                is_random=settings.augmentation != "none",
                label_smoothing=settings.label_smoothing,
            ),
            batches(self.valid),
            settings=settings,
            metrics=["accuracy"],
            class_weight=self._class_weight(),
            folder=self.folder,
            verbose=self._verbose,
        )

    def _unfrozen(self) -> Any:
        """The network after its head was trained, its base trainable from the layer ``unfreeze`` upwards."""
        network = load_network(self.folder / "head.keras")
        encoder, first = encoder_of(network), self.settings.unfreeze
        trainable = first == "base"
        encoder.trainable = True
        for layer in encoder.layers:
            trainable = trainable or layer.name == first
            layer.trainable = trainable and not isinstance(layer, keras.layers.BatchNormalization)
        network.get_layer(STATISTICS).trainable = False
        return network

    def _gathered(
        self, encode: Any, chosen: Sequence[Window], views: int
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """(views, frames, d) features of all frames in ``chosen``, and the rows of each of its windows."""
        place: dict[VideoFrame, int] = {}
        for window in chosen:
            for frame in window.frames:
                place.setdefault(frame, len(place))
        source = FrameFeatures(encode, self.settings.preprocessing, self._features, verbose=self._verbose)
        features = np.stack([source.of(list(place), view, self.settings.seed) for view in range(views)])
        return features, np.array([[place[frame] for frame in window.frames] for window in chosen])

    def _targets(self, chosen: Sequence[Window], smoothing: float = 0.0) -> Floats:
        return targets(chosen, self.labels, smoothing)

    def _class_weight(self) -> dict[int, float] | None:
        return class_weight(self.settings, self.labels, [window.label for window in self.train])

    def _facts(self) -> dict[str, Any]:
        """What the training record tells of this run."""
        samples: list[Sample] = [window.sample for window in (*self.train, *self.valid)]
        return {
            "settings": asdict(self.settings),
            "stride": self.stride,
            "labels": self.labels,
            "windows": counts(samples),
        }
