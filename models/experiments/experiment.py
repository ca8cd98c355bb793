"""All parameters of one training run, from a TOML or JSON file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from models.artifact import CARD
from models.data.listing import LABELS_FILE, SPLITS_FILE
from models.errors import ExperimentError
from models.settings import Augmentation, ClassWeights, Optimizer, Schedule, TrainingPrecision

_PATHS = ("data", "splits", "background", "imagenet_weights", "features")
_SETTINGS = (
    *("architecture", "weights", "height", "width", "train_size", "views", "batch_size", "seed"),
    *("head_epochs", "head_views", "head_learning_rate", "epochs", "patience", "unfreeze"),
    *("refit_epochs", "learn_valid"),
    *("optimizer", "learning_rate", "schedule", "weight_decay", "weight_average"),
    *("label_smoothing", "class_weights", "augmentation", "mix", "inset", "precision"),
)
_NAME: Final = re.compile(r"\w([\w .+-]{0,62}[\w.+-])?")
"""Of a model: it becomes part of addresses and of paths."""
_VERSION: Final = re.compile(r"\w[\w.+-]{0,63}")
"""Without a space, which stands between name and version."""


class Experiment(BaseModel):
    """The parameters of ``video-events train`` by their names; None leaves one to the architecture.

    ``valid_fraction`` and ``test_fraction`` divide the data anew, whatever ``splits`` say, by ``image`` or
    by whole ``group`` (``split_by``), at random by ``seed``. ``leave_out`` makes one group the test split,
    which is then judged; the validation images are ``valid_fraction`` (default 0.1) of the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    name: str = "model"
    model_version: str = "1"
    architecture: str = "resnet50"
    options: dict[str, Any] = Field(default_factory=dict)
    preset: str | None = None
    splits: Path | None = None
    background: Path | None = None
    valid_groups: tuple[str, ...] = ()
    test_groups: tuple[str, ...] = ()
    extra: tuple[Path, ...] = ()
    labels: tuple[str, ...] = ()
    valid_fraction: float | None = Field(None, ge=0, lt=1)
    test_fraction: float | None = Field(None, ge=0, lt=1)
    split_by: Literal["image", "group"] = "image"
    groups: tuple[str, ...] = ()
    leave_out: str | None = None
    weights: str | None = None
    imagenet_weights: Path | None = None
    start_from: str | None = None
    head_epochs: int | None = Field(None, ge=0)
    head_views: int | None = Field(None, ge=1)
    head_learning_rate: float | None = Field(None, gt=0)
    epochs: int | None = Field(None, ge=0)
    patience: int | None = Field(None, ge=0)
    unfreeze: str | None = None
    refit_epochs: int | None = Field(None, ge=0)
    learn_valid: bool | None = None
    optimizer: Optimizer | None = None
    learning_rate: float | None = Field(None, gt=0)
    schedule: Schedule | None = None
    weight_decay: float | None = Field(None, ge=0)
    weight_average: float | None = Field(None, ge=0, lt=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    class_weights: ClassWeights | None = None
    augmentation: Augmentation | None = None
    mix: float | None = Field(None, ge=0, le=1)
    inset: float | None = Field(None, ge=0, le=1)
    precision: TrainingPrecision | None = None
    batch_size: int | None = Field(None, ge=1)
    height: int | None = Field(None, ge=1)
    width: int | None = Field(None, ge=1)
    train_size: int | None = Field(None, ge=0)
    views: int | None = Field(None, ge=1, le=2)
    stride: int = Field(1, ge=1)
    features: Path | None = None
    seed: int | None = Field(None, ge=0, lt=2**32)
    test: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any], source: str = "the experiment") -> Self:
        """Check ``values``; raises ExperimentError that names the first that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ExperimentError(f"{source}: {explain(error, cls)}") from error

    @field_validator("name")
    @classmethod
    def _can_be_served(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                "a model's name has 1 to 64 letters, digits, spaces or any of _ . + -, begins with a letter "
                "or digit and ends with no space"
            )
        return name

    @field_validator("model_version")
    @classmethod
    def _has_no_space(cls, version: str) -> str:
        if not _VERSION.fullmatch(version):
            raise ValueError("a version has 1 to 64 letters, digits or any of _ . + -")
        return version

    @field_validator("dropout")
    @classmethod
    def _is_given_once(cls, dropout: float | None, given: ValidationInfo) -> float | None:
        if dropout is not None and "dropout" in given.data.get("options", {}):
            raise ValueError(
                f"options.dropout = {given.data['options']['dropout']!r} says the same; give one"
            )
        return dropout

    @property
    def judges_test(self) -> bool:
        """Whether the split ``test`` is to be judged: if asked for, and in a blind test."""
        return self.test or self.leave_out is not None

    def parameters(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON can hold it."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Raise ExperimentError that says ``why`` if one of these parameters is given."""
        given = [name for name in names if name in self.model_dump(exclude_defaults=True)]
        if given:
            raise ExperimentError(f"{self.architecture} {why}; {', '.join(given)} has no use")

    def check_place(self, folder: Path) -> None:
        """Raise ExperimentError for a run in ``folder`` if the next would take its report for images."""
        listed = self.splits or any((self.data / name).is_file() for name in (SPLITS_FILE, LABELS_FILE))
        if not listed and folder.resolve().is_relative_to(self.data.resolve()):
            raise ExperimentError(
                f"{folder} lies in {self.data}, where the pictures of its report would become a label; "
                "choose another folder with --output"
            )

    def settings(self) -> dict[str, Any]:
        """The parameters that ``models.presets.with_overrides`` takes."""
        options = self.options | ({} if self.dropout is None else {"dropout": self.dropout})
        return {name: getattr(self, name) for name in _SETTINGS} | {"options": options}


def read_parameters(file: Path) -> dict[str, Any]:
    """The parameters in a ``.toml`` or ``.json`` file; its paths are relative to the file.

    Raises ExperimentError for a file that is neither.
    """
    try:
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ExperimentError(f"{file} cannot be read as TOML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise ExperimentError(f"{file} holds a {type(values).__name__}; expected parameters by name")
    if not isinstance(values.get("options", {}), dict):
        raise ExperimentError(f"{file}: options = {values['options']!r}: expected a table of them by name")
    return resolve_paths(values, file.parent)


def merge(parameters: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``parameters`` with ``overrides`` over them, options of the architecture one by one.

    Paths in ``overrides`` are relative to the working directory, and absolute in what is returned: a run
    of a grid reads them from another folder.
    """
    merged = {**parameters, **resolve_paths(overrides, Path.cwd())}
    own = overrides.get("options", {})
    if "options" in parameters:
        earlier = dict(parameters["options"])
        if "dropout" in overrides:
            earlier.pop("dropout", None)
        merged["options"] = {**earlier, **own}
    if "dropout" in own and "dropout" not in overrides:
        merged.pop("dropout", None)
    return merged


def resolve_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``values`` with relative paths taken from ``folder``.

    ``start_from`` is a path where a model lies there, and else the name of one that ships.
    """
    resolved = dict(values)
    for name in _PATHS:
        if isinstance(resolved.get(name), str | Path):
            resolved[name] = str((folder / resolved[name]).absolute())
    start = resolved.get("start_from")
    if isinstance(start, str) and (folder / start / CARD).is_file():
        resolved["start_from"] = str((folder / start).absolute())
    if isinstance(resolved.get("extra"), list | tuple):
        resolved["extra"] = [str((folder / str(path)).absolute()) for path in resolved["extra"]]
    return resolved


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake, in one line."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"no parameter {name!r}; there are {', '.join(model.model_fields)}"
    if first["type"] == "missing":
        return f"{name} is missing"
    return f"{name} = {first['input']!r}: {first['msg'].removeprefix('Value error, ').lower()}"
