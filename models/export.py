"""From a trained network to an artifact: calibrate, judge, store, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.artifact import Artifact, save_artifact
from models.batches import Batches
from models.datasets import BACKGROUND, Sample, counts
from models.evaluate import Evaluation, fit_offset, fit_temperature, softmax
from models.opinion_pool import Floats
from models.preprocessing import Fit, Preprocessing, View
from models.views import plain_view


@dataclass(frozen=True, slots=True)
class Judged:
    """Logits of a network for samples of known labels: (views, N, classes)."""

    labels: tuple[str, ...]
    samples: Sequence[Sample]
    logits: Floats

    @property
    def pooled(self) -> Floats:
        """(N, classes): the logits of all views as one; see ``opinion_pool``."""
        return np.asarray(self.logits.mean(axis=0))

    @property
    def truth(self) -> npt.NDArray[np.int64]:
        """(N,): the index of each sample's label."""
        return np.array([self.labels.index(sample.label) for sample in self.samples], np.int64)

    def evaluation(self, temperature: float) -> Evaluation:
        return Evaluation(self.labels, self.truth, softmax(self.pooled, temperature))

    def raised(self, label: str, offset: float) -> Judged:
        """As if the network had ``offset`` more for ``label``: see ``raise_label``."""
        column = np.array([offset * (each == label) for each in self.labels], np.float32)
        return replace(self, logits=self.logits + column)


def judge(
    network: Any, labels: tuple[str, ...], samples: Sequence[Sample], preprocessing: Preprocessing
) -> Judged:
    """Run ``network`` (whose output is logits) over ``samples`` in all views, and tell how far it is."""
    from models.forward import fastest
    from models.progress import Steps, verbosity

    run = fastest(network)
    views = [partial(plain_view, preprocessing, view=view) for view in range(len(preprocessing.views))]
    seen = [Batches(samples, labels, view, batch_size=16) for view in views]
    steps = Steps(sum(map(len, seen)), "batch", verbosity())
    logits = []
    for batches in seen:
        rows = []
        for number in range(len(batches)):
            images, _ = batches[number]
            rows.append(run(images.astype(np.float32)))
            steps.add(1)
        logits.append(np.concatenate(rows))
    return Judged(labels, samples, np.stack(logits))


def background_offset(network: Any, valid: Judged) -> float:
    """By how much ``raise_label`` has to raise the background for ``network`` to be calibrated on ``valid``.

    What else there is in the world is less like what was learned of it than a sport is like itself, which no
    temperature mends: networks take too much of it for something they know. 0 where there is no background,
    and for networks whose last layer has no bias.
    """
    if BACKGROUND not in valid.labels or getattr(network.layers[-1], "bias", None) is None:
        return 0.0
    return round(fit_offset(valid.pooled, valid.truth, valid.labels.index(BACKGROUND)), 4)


def raise_label(network: Any, index: int, offset: float) -> None:
    """Have ``network`` add ``offset`` to the logit of a label, by the bias of its last layer."""
    bias = network.layers[-1].bias
    values = np.array(bias.numpy())
    values[index] += offset
    bias.assign(values)


def choose_views(
    network: Any, labels: tuple[str, ...], valid: Sequence[Sample], preprocessing: Preprocessing, count: int
) -> tuple[Preprocessing, dict[str, float]]:
    """The ``count`` views, 1 or 2, with the best accuracy on ``valid``, and the accuracies of all choices.

    One view is a way to make images square; the second of two is one of those ways, mirrored.
    """
    plain = tuple(View(fit) for fit in Fit)
    mirrored = tuple(View(fit, mirrored=True) for fit in Fit) if count == 2 else ()
    judged = judge(network, labels, valid, replace(preprocessing, views=plain + mirrored))
    of_view = dict(zip(plain + mirrored, judged.logits, strict=True))
    accuracies = {}
    for chosen in product(plain, mirrored) if mirrored else product(plain):
        logits = np.stack([of_view[view] for view in chosen])
        accuracies[chosen] = round(replace(judged, logits=logits).evaluation(1.0).accuracy, 4)
    best = max(accuracies, key=lambda chosen: accuracies[chosen])
    return replace(preprocessing, views=best), {
        " + ".join(map(str, chosen)): accuracy for chosen, accuracy in accuracies.items()
    }


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
) -> Artifact:
    """Calibrate on ``valid``, then store the network with its figures on ``valid`` and ``test``."""
    judged = [("valid", valid)] + ([("test", test)] if test else [])
    temperature = round(fit_temperature(valid.pooled, valid.truth), 4)
    metrics: dict[str, Any] = {}
    for split, part in judged:
        evaluation = part.evaluation(temperature)
        metrics[split] = {"images": counts(part.samples), "all": evaluation.summary()}
        sports = tuple(label for label in labels if label != BACKGROUND)
        if sports != labels and any(sample.label in sports for sample in part.samples):
            metrics[split]["without_background"] = evaluation.restricted(sports).summary()
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
