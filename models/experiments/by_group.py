"""One run for each group of the images, which is left out of it, and the mean of what they come to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.data.listing import file_name
from models.errors import ExperimentError, ModelError
from models.experiments.execute import settings_of
from models.experiments.experiment import Experiment
from models.experiments.results import mean_of_known
from models.experiments.samples import load_groups
from models.report import make_folder

MEANS = ("accuracy", "mean_roc_auc", "mean_average_precision")
SUMMARY = "by_group.json"


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures on each group that was left out, their mean, and by group what went wrong with the others."""

    groups: Mapping[str, Mapping[str, Any]]
    mean: Mapping[str, float | None]
    failed: Mapping[str, str]


def run_by_group(
    experiment: Experiment,
    folder: Path,
    run: Callable[[Experiment, Path], Mapping[str, Any]],
    *,
    tell: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Leave out each group in a folder of its own below ``folder``, and keep ``by_group.json`` there.

    ``run`` returns the results of an experiment in the folder it is given, or raises ModelError, which is
    recorded; the others go on. Raises ExperimentError or DatasetError where nothing can be begun.
    """
    groups = load_groups(experiment)
    settings_of(experiment.model_copy(update={"leave_out": groups[0]}))
    places = folders_of(groups)
    make_folder(folder)
    figures, failed = {}, {}
    for place, group in places.items():
        tell(f"group {group} is left out")
        try:
            results = run(experiment.model_copy(update={"leave_out": group}), folder / place)
        except ModelError as error:
            tell(f"failed: {group}: {error}")
            failed[group] = str(error)
            continue
        test = results["splits"]["test"]
        figures[group] = {name: test[name] for name in ("n", *MEANS)}
    mean = {name: mean_of_known([row[name] for row in figures.values()]) for name in MEANS}
    summary = Summary(figures, mean, failed)
    (folder / SUMMARY).write_text(json.dumps(asdict(summary), indent=1) + "\n")
    return summary


def folders_of(groups: Iterable[str]) -> dict[str, str]:
    """Groups by the names of their folders. Raises ExperimentError where two would have the same one."""
    folders: dict[str, str] = {}
    for group in groups:
        other = folders.setdefault(file_name(group), group)
        if other != group:
            raise ExperimentError(f"groups {other!r} and {group!r} would share a folder; rename one of them")
    return folders
