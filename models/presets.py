"""Which settings a run gets: those of its architecture or of a preset, with what the user wants otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from models import architectures
from models.architectures.architecture import Architecture, Kind
from models.errors import ModelError
from models.preprocessing import Preprocessing
from models.settings import TrainingSettings, from_scratch

PRESETS = {
    "video": TrainingSettings(views=2),
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
"""Recipes for ``resnet50``; other architectures come with settings of their own."""


_OF_BOTH = ("optimizer", "learning_rate", "epochs")
_OF_STAGE_TWO = ("schedule", "weight_average", "mix", "inset")


def with_overrides(
    preset: str | None = None,
    *,
    architecture: str = "resnet50",
    weights: str | None = None,
    height: int | None = None,
    width: int | None = None,
    options: Mapping[str, Any] | None = None,
    **values: Any,
) -> TrainingSettings:
    """The settings of ``preset`` or ``architecture`` with the values that are not None put in their place.

    ``height`` and ``width`` are those of serving. Raises ModelError for what does not exist or does not go
    together.
    """
    network = architectures.find(architecture)
    if preset is None:
        settings = network.settings
    elif preset not in PRESETS:
        raise ModelError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    elif architecture != "resnet50":
        raise ModelError(f"--preset is for resnet50; {architecture} comes with settings of its own")
    else:
        settings = PRESETS[preset]
    if weights not in (None, "none", "imagenet"):
        raise ModelError(f"no weights {weights!r} to start from; there are imagenet, none")
    if weights == "imagenet" and network.load_weights is None:
        raise ModelError(f"there are no ImageNet weights for {architecture}; it is trained from scratch")
    if weights == "none" and settings.weights != "none":
        settings = from_scratch(architecture=settings.architecture, preprocessing=settings.preprocessing)
    preprocessing = replace(
        settings.preprocessing,
        height=height or settings.preprocessing.height,
        width=width or settings.preprocessing.width,
    )
    given = {name: value for name, value in values.items() if value is not None}
    classifies = network.kind is Kind.FRAME and network.embedding_loss is None
    for name, wanted in (
        ("mix", bool(given.get("mix"))),
        ("inset", bool(given.get("inset"))),
        ("views", given.get("views", 1) > 1),
        ("precision", given.get("precision", "float32") != "float32"),
    ):
        if wanted and not classifies:
            raise ModelError(
                f"{name} is for networks that classify single images, which {architecture} does not"
            )
    _refuse_useless(network, settings, given)
    if settings.weights != "none" and not given.get("unfreeze", settings.unfreeze):
        given = _of_head(given)
    settings = replace(
        settings,
        options={**settings.options, **(options or {})},
        preprocessing=preprocessing,
        **given,
    )
    network.complete(settings.options)
    if given.get("weight_decay") and not _decays(network, settings):
        raise ModelError(f"weight_decay: of no use to {settings.optimizer}; say --optimizer adamw")
    if settings.weights == "none" and not settings.epochs:
        raise ModelError("without epochs a network of random weights learns nothing; leave --epochs 0 out")
    trained = (settings.head_epochs, settings.refit_epochs, settings.unfreeze and settings.epochs)
    if settings.weights != "none" and not any(trained):
        raise ModelError("without --epochs a head on a frozen base learns nothing")
    _check_stage_two(network, settings, given)
    if settings.train_size and not network.any_size:
        wanted = (preprocessing.height, preprocessing.width)
        if wanted != (settings.train_size, settings.train_size):
            raise ModelError(
                f"{architecture} is built for one size, {wanted[1]}×{wanted[0]} pixels, not for views "
                f"of {settings.train_size}; leave --train-size out, or choose --height and --width"
            )
    return settings


def _refuse_useless(network: Architecture, settings: TrainingSettings, given: Mapping[str, Any]) -> None:
    """Raise ModelError for what is said of stages that a training of ``network`` does not have."""
    frames = network.kind is Kind.FRAME
    refits = frames and given.get("refit_epochs", settings.refit_epochs)
    if not frames:
        _refuse(given, ("refit_epochs", "learn_valid"), f"to {network.name}, which judges clips")
    if not refits:
        _refuse(given, ("learn_valid",), "without stage three; say refit_epochs in a file of parameters")
    if network.embedding_loss is not None:
        of_labels = () if refits else ("class_weights", "label_smoothing")
        _refuse(given, ("weight_average", *of_labels), f"to {network.name}, which learns distances")
    if settings.weights == "none":
        of_head = ("head_epochs", "head_views", *(() if refits else ("head_learning_rate",)))
        _refuse(given, of_head, f"to {network.name} from random weights, which has no stage one")


def _check_stage_two(network: Architecture, settings: TrainingSettings, given: Mapping[str, Any]) -> None:
    """Raise ModelError for a stage that ``network`` does not have, or what is said of a stage two that is
    skipped; which layers the base of a clip network has is known once it is built."""
    if settings.weights == "none" or not settings.unfreeze:
        return
    if network.kind is Kind.FRAME and settings.unfreeze not in network.stages:
        known = ", ".join(network.stages)
        raise ModelError(f"no stage {settings.unfreeze!r} to unfreeze; there are {known}")
    if not settings.epochs:
        _refuse(given, ("unfreeze", "patience", *_OF_BOTH, *_OF_STAGE_TWO), "without stage two; say --epochs")


def _decays(network: Architecture, settings: TrainingSettings) -> bool:
    """Whether AdamW has a part in the training."""
    from_scratch, refits = settings.weights == "none", network.kind is Kind.FRAME and settings.refit_epochs
    head = settings.head_optimizer if settings.head_epochs and not from_scratch else ""
    whole = settings.optimizer if from_scratch or (settings.unfreeze and settings.epochs) else ""
    return bool(refits) or "adamw" in (head, whole)


def _refuse(given: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    """Raise ModelError that says ``why`` if one of ``names`` is given, and not only to say that it is off."""
    useless = [name for name in names if given.get(name) not in (None, 0, "none")]
    if useless:
        raise ModelError(f"{', '.join(useless)}: of no use {why}")


def _of_head(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the training where the base stays frozen: then it is that of the head.

    Raises ModelError for what a head on kept features cannot have.
    """
    _refuse(given, _OF_STAGE_TWO, "while the base stays frozen; say --unfreeze STAGE")
    moved = {f"head_{name}": given[name] for name in _OF_BOTH if name in given}
    return moved | {name: value for name, value in given.items() if name not in _OF_BOTH}
