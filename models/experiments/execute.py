"""Does what an experiment says: train, judge, store the model, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models import architectures
from models.artifact import load_artifact, round_weights
from models.datasets import BACKGROUND, Sample, counts, of_split
from models.errors import ExperimentError, ModelError
from models.experiments.execute_clips import execute_clips
from models.experiments.experiment import Experiment
from models.experiments.finish import finish
from models.experiments.results import Part
from models.experiments.samples import (
    before,
    check_fed_alike,
    check_readable,
    check_test,
    check_unseen,
    load_samples,
    tell_unread,
    without_copies,
)
from models.export import Judged, background_offset, choose_views, judge, raise_label
from models.presets import with_overrides
from models.settings import TrainingSettings
from models.train import Training

MOST_TRAIN_IMAGES = 2000
"""Of more training images so many, evenly chosen, are judged: it costs as much as an epoch."""
ABOUT_IMAGES = (
    *("splits", "background", "valid_groups", "test_groups", "extra", "labels", "groups", "leave_out"),
    *("valid_fraction", "test_fraction", "split_by"),
)
"""Parameters that say which images there are; which videos there are is in their own list."""
OF_IMAGENET = ("unfreeze", "imagenet_weights")
"""Parameters of networks that start with ImageNet's weights."""


def execute(
    experiment: Experiment, folder: Path, *, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Run ``experiment`` in ``folder`` and return its ``results.json``; ``tell`` gets news for a person.

    A run that was stopped goes on where it was. The split ``test`` is judged only if the experiment says
    so. Raises ModelError for what cannot be done.
    """
    settings = settings_of(experiment)
    if _judges_clips(settings):
        return execute_clips(experiment, folder, settings, tell=tell)
    found = load_samples(experiment, settings.seed)
    tell_unread(experiment, found, tell)
    samples = without_copies(found, tell)
    initialise = _start(experiment, settings, samples)
    training = Training(samples, folder, settings, initialise=initialise, start_from=experiment.start_from)
    test = of_split(samples, "test") if experiment.judges_test else []
    if experiment.judges_test:
        check_test(samples, training.labels)
    used = [*training.train, *training.valid, *test]
    tell(f"reading {len(used)} images of {len(training.labels)} labels, to see that they can be")
    check_readable(sample.path for sample in used)
    network = training.fit()
    began = time.monotonic()
    tell("choosing how to make images square, on the validation images")
    preprocessing, accuracies = choose_views(
        network, training.labels, training.valid, settings.preprocessing, settings.views
    )
    judging = time.monotonic() - began
    network = training.refit(network, preprocessing)
    round_weights(network)
    began = time.monotonic()
    chosen = {"valid": training.valid, "train": evenly(training.train, MOST_TRAIN_IMAGES)}
    judged = {}
    for split, some in chosen.items():
        tell(f"judging {len(some)} images of {split}")
        judged[split] = judge(network, training.labels, some, preprocessing)
    network = training.last(network)
    round_weights(network)
    if experiment.judges_test:
        tell(f"judging {len(test)} images of test")
        judged["test"] = judge(network, training.labels, test, preprocessing)
    judging += time.monotonic() - began
    if offset := background_offset(network, judged["valid"]):
        raise_label(network, training.labels.index(BACKGROUND), offset)
        judged = {split: one.raised(BACKGROUND, offset) for split, one in judged.items()}
    groups = {"valid": experiment.valid_groups, "test": experiment.test_groups}
    return finish(
        training,
        experiment,
        network,
        judged,
        lambda split, one, temperature: part_of(one, temperature, counts(samples)[split]),
        settings=replace(settings, preprocessing=preprocessing),
        seconds={"training": training.record()["seconds"], "judging": judging},
        record={
            "view_accuracy_on_valid": accuracies,
            "background_offset": offset,
            "groups": groups,
            **before(experiment, training.division),
        },
        extra={"view_accuracy_on_valid": accuracies},
        tell=tell,
    )


def settings_of(experiment: Experiment) -> TrainingSettings:
    """What the training of ``experiment`` is begun with.

    Raises ExperimentError for a parameter that has no use, ModelError for what does not go together.
    """
    settings = with_overrides(experiment.preset, **experiment.settings())
    if _judges_clips(settings):
        experiment.refuse(ABOUT_IMAGES, "learns from videos, whose labels.csv says all")
        useless: tuple[str, ...] = (*OF_IMAGENET, "features")
    else:
        experiment.refuse(("stride", "features"), "judges single images")
        useless = OF_IMAGENET
    if settings.weights == "none":
        experiment.refuse(useless, "is trained from scratch")
        return settings
    if experiment.start_from is not None:
        experiment.refuse(("imagenet_weights",), "starts from another model")
        if not _judges_clips(settings):
            return _without_stage_one(experiment, settings)
    return settings


def _without_stage_one(experiment: Experiment, settings: TrainingSettings) -> TrainingSettings:
    """What goes on from a model, whose head is trained already.

    Raises ExperimentError where nothing is left to train, or for what is said of stage one.
    """
    of_stage_one = (
        *("head_epochs", "head_views"),
        *(() if settings.unfreeze else ("epochs", "patience", "optimizer")),
        *(() if settings.refit_epochs else ("head_learning_rate",)),
    )
    useless = [name for name in of_stage_one if getattr(experiment, name)]
    if not (settings.unfreeze and settings.epochs) and not settings.refit_epochs:
        raise ExperimentError(
            "start_from goes on without stage one, and a frozen base learns nothing; say unfreeze and epochs"
        )
    if useless:
        raise ExperimentError(f"start_from goes on without stage one; {', '.join(useless)} has no use")
    return replace(settings, head_epochs=0)


def _judges_clips(settings: TrainingSettings) -> bool:
    return architectures.find(settings.architecture).kind is architectures.Kind.CLIP


def part_of(judged: Judged, temperature: float, images: Mapping[str, int]) -> Part:
    """What a network said of a split, calibrated by ``temperature`` and raw; see ``Part``."""
    return Part(judged.samples, judged.evaluation(temperature), judged.evaluation(1.0), images)


def evenly(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most ``most`` of ``samples``, at even distances."""
    if len(samples) <= most:
        return list(samples)
    return [samples[i * len(samples) // most] for i in range(most)]


def _start(
    experiment: Experiment, settings: TrainingSettings, samples: Sequence[Sample]
) -> Callable[[Any], None] | None:
    """What fills the network at first, None for what the settings say."""
    if experiment.start_from is not None:
        earlier = load_artifact(experiment.start_from)
        labels = tuple(sorted({sample.label for sample in of_split(samples, "train")}))
        if labels != earlier.labels:
            raise ModelError(
                f"--start-from {experiment.start_from} has labels {earlier.labels}, not {labels}"
            )
        check_fed_alike(earlier, settings.preprocessing)
        check_unseen(earlier, samples)
        return earlier.fill
    load, folder = architectures.find(settings.architecture).load_weights, experiment.imagenet_weights
    if folder is not None and load is not None and settings.weights == "imagenet":
        return lambda network: load(network, folder)
    return None
