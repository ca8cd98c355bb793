"""How every run ends, whatever its network judges: the model is stored, calibrated, and all is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from models.experiments.experiment import Experiment
from models.experiments.results import Part, Run, divergences, write_results
from models.export import Judged, export
from models.settings import TrainingSettings
from models.train import Training
from models.train_clips import ClipTraining


def finish(
    training: Training | ClipTraining,
    experiment: Experiment,
    network: Any,
    judged: Mapping[str, Judged],
    part_of: Callable[[str, Judged, float], Part],
    *,
    settings: TrainingSettings,
    seconds: Mapping[str, float],
    record: Mapping[str, Any],
    extra: Mapping[str, Any],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Return ``results.json``. ``part_of`` is given a split, its outcome and the temperature.

    ``settings`` are those to be served with, ``record`` joins the model's training record and ``extra``
    the results. ``tell`` gets news for a person.
    """
    artifact = export(
        network,
        training.folder / "artifact",
        name=experiment.name,
        version=experiment.model_version,
        architecture=settings.architecture,
        options=training.options,
        labels=training.labels,
        preprocessing=settings.preprocessing,
        training=training.record() | dict(record),
        valid=judged["valid"],
        test=judged.get("test"),
    )
    results = write_results(
        Run(
            folder=training.folder,
            name=experiment.name,
            parameters=experiment.parameters(),
            settings=asdict(settings),
            labels=training.labels,
            network=network,
            parts={split: part_of(split, one, artifact.temperature) for split, one in judged.items()},
            seconds=seconds,
            extra=extra,
        )
    )
    for line in divergences(results["history"]):
        tell(f"warning: {line}")
    return results
