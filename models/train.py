"""Fine-tune a network on labelled images: the head on frozen features, then top blocks, then the head again.

Each stage can be resumed: what is done lies in the run's folder and is not done again. The code is plain
Keras 3 and runs with the TensorFlow and the JAX backend (``KERAS_BACKEND``), on a GPU when there is one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models import augmentation
from models.architectures import resnet50
from models.batches import Batches, View
from models.datasets import Image, Sample, counts, of_split
from models.errors import DatasetError, ModelError
from models.imagenet import load_imagenet_weights
from models.preprocessing import Preprocessing

Features = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""(N, features) that the base makes of N images, and their (N, classes) targets."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that decides how a training run goes; stored with its result.

    ``train_size`` may be smaller than the serving size: random crops make objects look larger in
    training than at serving, and a smaller crop cancels that (Touvron et al., 2019, FixRes) while it
    halves the cost. Without ``head_epochs`` stage two goes on from the weights that the network starts with.
    ``unfreeze`` names the first trainable stage of stage two, or is empty to skip it; the head learns
    ``head_factor`` times as fast as the stages below it. Batch normalisation stays as ImageNet left it.
    ``refit_epochs`` are those of stage three, which fits the head once more on the views that serving will
    see (0 skips it).
    """

    preset: str = "video"
    seed: int = 1
    batch_size: int = 32
    train_size: int = 160
    augmentation: str = "video"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    dense: int = 512
    dropout: float = 0.5
    label_smoothing: float = 0.1
    head_views: int = 1
    head_epochs: int = 12
    head_optimizer: str = "adamw"
    head_learning_rate: float = 1e-3
    unfreeze: str = "conv4"
    epochs: int = 6
    learning_rate: float = 4e-5
    head_factor: float = 20.0
    weight_decay: float = 0.02
    refit_epochs: int = 10


PRESETS = {
    "video": TrainingSettings(),
    "lecture": TrainingSettings(
        preset="lecture",
        train_size=224,
        augmentation="lecture",
        preprocessing=Preprocessing(channels="rgb", mean=(123.68, 116.779, 103.939)),
        label_smoothing=0.0,
        head_views=5,
        head_epochs=25,
        head_optimizer="lecture_sgd",
        head_learning_rate=1e-4,
        unfreeze="",
        refit_epochs=0,
    ),
}


def views(settings: TrainingSettings) -> tuple[View, View]:
    """The random view of a training image and the fixed view of a validation image."""
    makers = {"video": augmentation.video_view, "lecture": augmentation.lecture_view}
    try:
        make = makers[settings.augmentation]
    except KeyError:
        known = ", ".join(makers)
        raise ModelError(f"no augmentation {settings.augmentation!r}; there are {known}") from None
    return partial(_sized, make, settings.train_size), partial(_plain, settings.preprocessing)


def _sized(
    make: Callable[[Image, np.random.Generator, int], Image],
    size: int,
    image: Image,
    rng: np.random.Generator,
) -> Image:
    return make(image, rng, size)


def _plain(preprocessing: Preprocessing, image: Image, rng: np.random.Generator) -> Image:
    return preprocessing.model_input(image)


class Training:
    """One run in ``folder``: stages, checkpoints and logs.

    ``samples`` must hold the splits ``train`` and ``valid``. ``fit`` returns the model of the epoch
    with the lowest validation loss, which lies in ``best.keras`` too. ``initialise`` fills the network
    with the weights to start from.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        folder: Path,
        settings: TrainingSettings,
        *,
        initialise: Callable[[Any], None] = load_imagenet_weights,
        verbose: int | str = "auto",
    ) -> None:
        self.train = of_split(samples, "train")
        self.valid = of_split(samples, "valid")
        if not self.train or not self.valid:
            raise DatasetError(f"training needs the splits train and valid; found {counts(samples)}")
        self.labels = tuple(sorted({sample.label for sample in self.train}))
        strangers = sorted({sample.label for sample in self.valid} - set(self.labels))
        if strangers:
            raise DatasetError(f"validation images have labels without training images: {strangers}")
        self.folder = folder
        self.settings = settings
        self.counts = counts([*self.train, *self.valid])
        self._initialise = initialise
        self._verbose = verbose
        self._train_view, self._valid_view = views(settings)
        folder.mkdir(parents=True, exist_ok=True)

    def fit(self) -> Any:
        """Do what is left of the stages and return the best network (its output is logits)."""
        keras.utils.set_random_seed(self.settings.seed)
        self._check_settings()
        started = time.monotonic()
        if not (self.folder / "head.keras").is_file():
            self._fit_head()
        if self.settings.unfreeze and self.settings.epochs:
            self._fit_top()
            best = self.folder / "best.keras"
        else:
            best = self.folder / "head.keras"
        self._note(time.monotonic() - started)
        return keras.models.load_model(best, compile=False)

    def _check_settings(self) -> None:
        """A run goes on only with the settings that it was begun with."""
        path = self.folder / "settings.json"
        wanted = json.loads(json.dumps(asdict(self.settings)))
        if not path.is_file():
            path.write_text(json.dumps(wanted, indent=1) + "\n")
        found = json.loads(path.read_text())
        if found != wanted:
            other = ", ".join(name for name in wanted if found.get(name) != wanted[name])
            raise ModelError(
                f"{self.folder} holds a run with another {other}; choose another folder or remove this one"
            )

    @property
    def options(self) -> dict[str, Any]:
        """What the architecture has to be told to build this run's network again."""
        return {"dense": self.settings.dense, "dropout": self.settings.dropout}

    def _build(self) -> Any:
        pre = self.settings.preprocessing
        model = resnet50.build(
            len(self.labels),
            mean=pre.mean,
            scale=pre.scale,
            channels=pre.channels,
            **self.options,
        )
        self._initialise(model)
        return model

    def _batches(self, samples: Sequence[Sample], view: View, **options: Any) -> Batches:
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
        model = self._build()
        if not settings.head_epochs:
            model.save(self.folder / "head.keras")
            return
        base, head = _split(model)
        views = []
        for number in range(settings.head_views):
            batches = self._batches(
                self.train, self._train_view, first_epoch=number, label_smoothing=settings.label_smoothing
            )
            views.append(self._features(base, batches))
        valid = self._features(base, self._batches(self.valid, self._valid_view))
        self._fit_on_features(head, views, valid, settings.head_epochs, _head_optimizer(settings), "head")
        model.save(self.folder / "head.keras")

    def refit(self, network: Any, preprocessing: Preprocessing) -> Any:
        """Stage three: fit the head of ``network`` to the training images as serving will see them.

        Random views at another size, from which the stages below have learnt, are not quite what the
        head gets in the end (Touvron et al., 2019, FixRes). Lies in ``refit.keras`` afterwards.
        """
        settings, done = self.settings, self.folder / "refit.keras"
        if not settings.refit_epochs:
            return network
        if not done.is_file():
            started = time.monotonic()
            base, head = _split(network)
            view = partial(_plain, preprocessing)
            train = self._features(
                base, self._batches(self.train, view, label_smoothing=settings.label_smoothing)
            )
            valid = self._features(base, self._batches(self.valid, view))
            steps = settings.refit_epochs * -(-len(train[0]) // settings.batch_size)
            optimizer = keras.optimizers.AdamW(
                keras.optimizers.schedules.CosineDecay(settings.head_learning_rate / 2, steps),
                weight_decay=settings.weight_decay,
            )
            self._fit_on_features(head, [train], valid, settings.refit_epochs, optimizer, "refit")
            network.save(done)
            self._note(time.monotonic() - started)
        return keras.models.load_model(done, compile=False)

    def _fit_on_features(
        self, head: Any, views: Sequence[Features], valid: Features, epochs: int, optimizer: Any, name: str
    ) -> None:
        """Fit ``head``, one view of the images after the other; ends with its best weights."""
        head.compile(
            optimizer=optimizer,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        best = keras.callbacks.ModelCheckpoint(
            self.folder / f"{name}_only.weights.h5",
            monitor="val_loss",
            save_best_only=True,
            save_weights_only=True,
        )
        for epoch in range(epochs):
            features, targets = views[epoch % len(views)]
            head.fit(
                features,
                targets,
                batch_size=self.settings.batch_size,
                initial_epoch=epoch,
                epochs=epoch + 1,
                validation_data=valid,
                callbacks=[
                    best,
                    keras.callbacks.CSVLogger(self.folder / f"{name}_log.csv", append=epoch > 0),
                ],
                verbose=self._verbose,
            )
        head.load_weights(self.folder / f"{name}_only.weights.h5")

    def _features(self, base: Any, batches: Batches) -> Features:
        bar = keras.utils.Progbar(len(batches), unit_name="batch", verbose=1 if self._verbose != 0 else 0)
        features, targets = [], []
        for number in range(len(batches)):
            images, some_targets = batches[number]
            features.append(np.asarray(base.predict_on_batch(images.astype(np.float32))))
            targets.append(some_targets)
            bar.add(1)
        return np.concatenate(features), np.concatenate(targets)

    def _fit_top(self) -> None:
        """Stage two: train from ``unfreeze`` upwards, with a warm-up and a cosine decay."""
        settings = self.settings
        last, state = self.folder / "last.keras", self.folder / "state.json"
        if last.is_file() and state.is_file():
            model = keras.models.load_model(last)
            saved = json.loads(state.read_text())
        else:
            model = keras.models.load_model(self.folder / "head.keras", compile=False)
            _unfreeze(model, settings.unfreeze)
            steps = settings.epochs * len(self._batches(self.train, self._train_view))
            schedule = keras.optimizers.schedules.CosineDecay(
                settings.learning_rate / 20,
                max(1, steps - steps // 20),
                alpha=0.02,
                warmup_target=settings.learning_rate,
                warmup_steps=max(1, steps // 20),
            )
            optimizer = LayeredAdamW(
                schedule, weight_decay=settings.weight_decay, factor=settings.head_factor
            )
            model.compile(
                optimizer=optimizer,
                loss=keras.losses.CategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
            )
            saved = {"epoch": 0, "best": None}
        if saved["epoch"] >= settings.epochs:
            return
        best = keras.callbacks.ModelCheckpoint(
            self.folder / "best.keras",
            monitor="val_loss",
            save_best_only=True,
            initial_value_threshold=saved["best"],
        )
        model.fit(
            self._batches(
                self.train,
                self._train_view,
                shuffle=True,
                label_smoothing=settings.label_smoothing,
                first_epoch=saved["epoch"],
            ),
            validation_data=self._batches(self.valid, self._valid_view),
            initial_epoch=saved["epoch"],
            epochs=settings.epochs,
            callbacks=[
                best,
                keras.callbacks.CSVLogger(self.folder / "log.csv", append=saved["epoch"] > 0),
                _Resume(last, state, best),
            ],
            verbose=self._verbose,
        )

    def record(self) -> dict[str, Any]:
        """The training record: settings, data, versions, seconds of all sittings."""
        record: dict[str, Any] = json.loads((self.folder / "training.json").read_text())
        return record

    def _note(self, seconds: float) -> None:
        path = self.folder / "training.json"
        if path.is_file():
            seconds += self.record()["seconds"]
        record = {
            "settings": asdict(self.settings),
            "labels": self.labels,
            "images": self.counts,
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
            "seconds": round(seconds, 1),
        }
        path.write_text(json.dumps(record, indent=1) + "\n")


@keras.saving.register_keras_serializable(package="video_events")
class LayeredAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW whose rate is ``factor`` times as high for the head, which starts from less than the base."""

    def __init__(self, learning_rate: Any = 1e-3, factor: float = 1.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.factor = factor
        self._factors: list[float] = []

    def build(self, variables: Any) -> None:
        heads = [variable.path.partition("/")[0] in resnet50.HEAD for variable in variables]
        self._factors = [self.factor if is_head else 1.0 for is_head in heads]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class _Resume(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch, store the model with its optimizer, then the number of epochs done."""

    def __init__(self, model_path: Path, state_path: Path, best: Any) -> None:
        super().__init__()
        self._model_path = model_path
        self._state_path = state_path
        self._best = best

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        unfinished = self._model_path.with_suffix(".new.keras")
        self.model.save(unfinished)
        unfinished.replace(self._model_path)
        self._state_path.write_text(json.dumps({"epoch": epoch + 1, "best": float(self._best.best)}))


def _split(model: Any) -> tuple[Any, Any]:
    """The base up to average pooling, and the head as a model of its own; both share ``model``'s layers."""
    pool = model.get_layer("avg_pool")
    inputs = x = keras.Input(pool.output.shape[1:])
    for layer in model.layers[model.layers.index(pool) + 1 :]:
        x = layer(x)
    return keras.Model(model.input, pool.output), keras.Model(inputs, x)


def _head_optimizer(settings: TrainingSettings) -> Any:
    rate = settings.head_learning_rate
    if settings.head_optimizer == "lecture_sgd":
        # Keras 2's ``decay``: the rate at step t is rate / (1 + decay · t)
        schedule = keras.optimizers.schedules.InverseTimeDecay(rate, 1, rate / settings.head_epochs)
        return keras.optimizers.SGD(schedule, momentum=0.9)
    return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)


def _unfreeze(model: Any, stage: str) -> None:
    try:
        first = resnet50.FIRST_LAYER_OF_STAGE[stage]
    except KeyError:
        known = ", ".join(resnet50.FIRST_LAYER_OF_STAGE)
        raise ModelError(f"no stage {stage!r} to unfreeze; there are {known}") from None
    trainable = False
    for layer in model.layers:
        trainable = trainable or layer.name == first
        layer.trainable = trainable and not isinstance(layer, keras.layers.BatchNormalization)


def with_overrides(preset: str, **values: Any) -> TrainingSettings:
    """The settings of ``preset`` with the values that are not None put in their place."""
    try:
        settings = PRESETS[preset]
    except KeyError:
        raise ModelError(f"no preset {preset!r}; there are {', '.join(PRESETS)}") from None
    return replace(settings, **{name: value for name, value in values.items() if value is not None})
