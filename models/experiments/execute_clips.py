"""As ``execute``, for networks that judge clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from models.architectures.clips import fill_base, load_base_weights
from models.artifact import load_artifact, round_weights
from models.datasets import Sample, counts
from models.experiments.experiment import Experiment
from models.experiments.finish import finish
from models.experiments.results import Part
from models.experiments.samples import before, check_fed_alike, check_readable, check_test, check_unseen
from models.export import Judged
from models.flicker import flicker
from models.sequences import VideoFrame, load_frames, of_split
from models.settings import TrainingSettings
from models.train_clips import ClipTraining


def execute_clips(
    experiment: Experiment, folder: Path, settings: TrainingSettings, *, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Train on the videos in ``experiment.data``, judge every window, store and report.

    Raises ModelError for what cannot be done.
    """
    frames = load_frames(experiment.data)
    training = ClipTraining(
        frames,
        folder,
        settings,
        stride=experiment.stride,
        features=experiment.features,
        initialise=_start(experiment, settings, frames),
        start_from=experiment.start_from,
    )
    return train_and_report(training, experiment, tell=tell)


def train_and_report(
    training: ClipTraining, experiment: Experiment, *, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Do what is left of ``training``, judge, store and report as ``experiment`` says."""
    settings = training.settings
    test = of_split(training.windows, "test") if experiment.judges_test else []
    if experiment.judges_test:
        check_test([window.sample for window in training.windows], training.labels)
    # a frozen base gets no frame beforehand: what it has made of others is kept where one cannot be read
    trains_on_pixels = settings.weights == "none" or (settings.unfreeze and settings.epochs)
    pixels = [*training.train, *training.valid] if trains_on_pixels else []
    check_readable(frame.path for window in [*pixels, *test] for frame in window.frames)
    network = training.fit()
    round_weights(network)
    seconds = {"training": training.record()["seconds"]}
    began = time.monotonic()
    judged = {}
    for split in ("valid", "train", *(["test"] if experiment.judges_test else [])):
        tell(f"judging the windows of {split}")
        judged[split] = training.judge(network, split)
    seconds["judging"] = time.monotonic() - began

    def part_of(split: str, one: Judged, temperature: float) -> Part:
        evaluation = one.evaluation(temperature)
        steadiness = flicker(evaluation.probabilities, evaluation.truth, of_split(training.windows, split))
        images = counts(one.samples)[split]
        return Part(one.samples, evaluation, one.evaluation(1.0), images, {"flicker": steadiness})

    return finish(
        training,
        experiment,
        network,
        judged,
        part_of,
        settings=settings,
        seconds=seconds,
        record=before(experiment, training.division),
        extra={"stride": experiment.stride},
        tell=tell,
    )


def _start(
    experiment: Experiment, settings: TrainingSettings, frames: Sequence[VideoFrame]
) -> Callable[[Any], None] | None:
    """What fills the base: that of a stored model, ImageNet's weights in a folder, or nothing of ours."""
    if experiment.start_from is not None:
        earlier = load_artifact(experiment.start_from)
        check_fed_alike(earlier, settings.preprocessing)
        check_unseen(earlier, [Sample(one.path, one.label, one.split, one.video) for one in frames])
        return partial(fill_base, earlier)
    if experiment.imagenet_weights is not None and settings.weights == "imagenet":
        return partial(load_base_weights, folder=experiment.imagenet_weights)
    return None
