"""From a trained network to an artifact: calibrate, judge, store, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.artifact import Artifact, save_artifact
from models.batches import Batches
from models.datasets import BACKGROUND, Sample, counts
from models.evaluate import Evaluation, Floats, fit_temperature, softmax
from models.preprocessing import Fit, Preprocessing


@dataclass(frozen=True, slots=True)
class Judged:
    """Logits of a network for samples of known labels."""

    labels: tuple[str, ...]
    samples: Sequence[Sample]
    logits: Floats

    def evaluation(self, temperature: float) -> Evaluation:
        truth = np.array([self.labels.index(sample.label) for sample in self.samples], np.int64)
        return Evaluation(self.labels, truth, softmax(self.logits, temperature))


def judge(
    network: Any, labels: tuple[str, ...], samples: Sequence[Sample], preprocessing: Preprocessing
) -> Judged:
    """Run ``network`` (whose output is logits) over ``samples``, with a progress bar."""
    import keras

    batches = Batches(samples, labels, lambda image, _: preprocessing.model_input(image), batch_size=16)
    bar = keras.utils.Progbar(len(batches), unit_name="batch")
    logits = []
    for number in range(len(batches)):
        images, _ = batches[number]
        logits.append(np.asarray(network.predict_on_batch(images.astype(np.float32))))
        bar.add(1)
    return Judged(labels, samples, np.concatenate(logits))


def choose_fit(
    network: Any, labels: tuple[str, ...], valid: Sequence[Sample], preprocessing: Preprocessing
) -> tuple[Preprocessing, dict[str, float]]:
    """The way to make images square that has the best accuracy on ``valid``, and the accuracy of each."""
    accuracies = {}
    for fit in Fit:
        judged = judge(network, labels, valid, replace(preprocessing, fit=fit))
        accuracies[fit.value] = round(judged.evaluation(1.0).accuracy, 4)
    best = max(Fit, key=lambda fit: accuracies[fit.value])
    return replace(preprocessing, fit=best), accuracies


def export(
    network: Any,
    folder: Path,
    *,
    name: str,
    version: str,
    architecture: str,
    options: dict[str, Any],
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    training: dict[str, Any],
    valid: Judged,
    test: Judged | None = None,
    enter: float = 0.6,
) -> Artifact:
    """Calibrate on ``valid``, then store the network with its figures on ``valid`` and ``test``."""
    judged = [("valid", valid)] + ([("test", test)] if test else [])
    truth = valid.evaluation(1.0).truth
    temperature = round(fit_temperature(valid.logits, truth), 4)
    metrics: dict[str, Any] = {}
    for split, part in judged:
        evaluation = part.evaluation(temperature)
        metrics[split] = {"images": counts(part.samples), "all": evaluation.summary(enter)}
        sports = tuple(label for label in labels if label != BACKGROUND)
        if sports != labels and any(sample.label in sports for sample in part.samples):
            metrics[split]["without_background"] = evaluation.restricted(sports).summary(enter)
    return save_artifact(
        folder,
        network,
        name=name,
        version=version,
        architecture=architecture,
        options=options,
        labels=labels,
        preprocessing=preprocessing,
        temperature=temperature,
        records={"training": training, "metrics": metrics},
    )
