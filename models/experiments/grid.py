"""Many experiments that differ in a few parameters, run one after the other and never twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.listing import write_rows
from models.errors import ExperimentError, ModelError
from models.experiments.compare import as_page, columns_of, differing, flatten, tabulate
from models.experiments.experiment import Experiment, merge, read_parameters, resolve_paths
from models.experiments.page import write_comparison_page
from models.experiments.results import read_results

EXPERIMENT = "experiment.json"
ERROR = "error.txt"
TABLE = "table.csv"
PAGE = "leaderboard.html"
MOST_RUNS = 10_000
EACH = "each"


@dataclass(frozen=True, slots=True)
class Planned:
    """A run of a grid: the name of its folder, and what it does."""

    name: str
    experiment: Experiment


@dataclass(frozen=True, slots=True)
class Table:
    """Where a grid stands: results of finished runs and errors of failed ones, by name; what is left."""

    done: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]
    waiting: tuple[str, ...]


def read_grid(
    file: Path,
    overrides: Mapping[str, Any] | None = None,
    groups: Callable[[Experiment], Sequence[str]] = lambda experiment: (),
) -> list[Planned]:
    """The runs that a file describes: the parameters of an experiment, and a table ``grid`` of ranges.

    ``[grid]`` gives a list of values for each parameter (``"options.dense" = [64, 128]`` for an option of
    the architecture); every combination is a run. Paths in it are relative to the file. Several ranges
    that do not multiply are several ``[[grid]]``. ``overrides`` come over the file's own parameters; their
    paths are relative to the working directory. ``leave_out = "each"``, in the grid or outside, means every
    group of the data in turn (leave-one-group-out), as ``groups`` names them.

    Raises ExperimentError before anything runs if one of the runs could not be.
    """
    values = read_parameters(file)
    grids = values.pop("grid", None)
    if isinstance(grids, Mapping):
        grids = [grids]
    if grids is None and values.get("leave_out") == EACH:
        grids = [{}]
    if not isinstance(grids, list) or not all(isinstance(grid, Mapping) for grid in grids):
        raise ExperimentError(f"{file} has no [grid] with a list of values for each parameter")
    base = merge(values, overrides or {})
    runs: dict[str, Planned] = {}
    for grid in grids:
        for chosen in _combinations(file, grid, base, groups):
            experiment = Experiment.of(_with(base, resolve_paths(chosen, file.parent)), str(file))
            planned = Planned(_name(chosen, experiment), experiment)
            runs.setdefault(planned.name, planned)
            if len(runs) > MOST_RUNS:
                raise ExperimentError(f"{file} describes more than {MOST_RUNS} runs")
    return list(runs.values())


def run_grid(
    plan: Sequence[Planned],
    folder: Path,
    run: Callable[[Planned, Path], None],
    *,
    retry: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Table:
    """Do what is left of ``plan`` in ``folder/<name>``, and keep ``table.csv`` and ``leaderboard.html``.

    ``run`` leaves ``results.json`` in the folder it is given, or raises ModelError, which is recorded; the
    others go on. What is done is not done again, nor what has failed unless ``retry``. An interrupt stops
    at once and leaves the unfinished run to the next time.
    """
    for number, planned in enumerate(plan, 1):
        place = folder / planned.name
        if _is_done(place, planned) or ((place / ERROR).is_file() and not retry):
            continue
        tell(f"run {number} of {len(plan)}: {planned.name}")
        place.mkdir(parents=True, exist_ok=True)
        (place / EXPERIMENT).write_text(json.dumps(planned.experiment.parameters(), indent=1) + "\n")
        (place / ERROR).unlink(missing_ok=True)
        try:
            run(planned, place)
            read_results(place)
        except ModelError as error:
            (place / ERROR).write_text(f"{error}\n")
            tell(f"run {planned.name} failed: {error}")
        write_table(plan, folder)
    return write_table(plan, folder)


def write_table(plan: Sequence[Planned], folder: Path) -> Table:
    """Read where the runs stand and write it down."""
    table = read_table(plan, folder)
    varied = differing(planned.experiment.parameters() for planned in plan)
    parameters = {planned.name: flatten(planned.experiment.parameters()) for planned in plan}
    rows = tabulate(table.done, varied)
    for name in (*table.failed, *table.waiting):
        rows.append({"run": name} | {one: parameters[name].get(one) for one in varied})
    states = dict.fromkeys(table.done, "done") | dict.fromkeys(table.failed, "failed")
    for row in rows:
        row["state"] = states.get(row["run"], "waiting")
        row["error"] = " ".join(table.failed.get(row["run"], "").split())
    columns = ["run", "state", *(name for name in columns_of(rows) if name not in ("run", "state", "error"))]
    columns.append("error")
    cells = [["" if row.get(name) is None else row[name] for name in columns] for row in rows]
    write_rows(folder / TABLE, columns, cells, overwrite=True)
    page = as_page(table.done, table.failed, varied)
    write_comparison_page(folder / PAGE, f"Leaderboard of {folder.name}", page)
    return table


def read_table(plan: Sequence[Planned], folder: Path) -> Table:
    """Where the runs of ``plan`` stand."""
    done: dict[str, Mapping[str, Any]] = {}
    failed: dict[str, str] = {}
    waiting = []
    for planned in plan:
        place = folder / planned.name
        if _is_done(place, planned):
            done[planned.name] = read_results(place)
        elif (place / ERROR).is_file():
            failed[planned.name] = (place / ERROR).read_text().strip()
        else:
            waiting.append(planned.name)
    return Table(done, failed, tuple(waiting))


def _is_done(place: Path, planned: Planned) -> bool:
    try:
        return bool(read_results(place)["parameters"] == planned.experiment.parameters())
    except ExperimentError:
        return False


def _combinations(
    file: Path,
    grid: Mapping[str, Any],
    base: Mapping[str, Any],
    groups: Callable[[Experiment], Sequence[str]],
) -> Iterator[dict[str, Any]]:
    ranges = dict(grid)
    leave_out = ranges.get("leave_out", base.get("leave_out"))
    if leave_out in (EACH, [EACH]):
        plain = {name: values[0] for name, values in ranges.items() if isinstance(values, list) and values}
        plain = resolve_paths(plain, file.parent) | {"leave_out": None}
        first = Experiment.of(_with(base, plain), str(file))
        ranges["leave_out"] = list(groups(first))
        if not ranges["leave_out"]:
            raise ExperimentError(
                f"{first.data} has no groups to leave out; a group is a column of splits.csv"
            )
    for name, values in ranges.items():
        if not isinstance(values, list) or not values:
            raise ExperimentError(f"{file}: {name} in [grid] must be a list of values, not {values!r}")
    for values in itertools.product(*ranges.values()):
        yield dict(zip(ranges, values, strict=True))


def _with(base: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``chosen`` in it; ``options.x`` goes into the table ``options``."""
    values = dict(base)
    options = dict(values.get("options", {}))
    for name, value in chosen.items():
        if name.startswith("options."):
            options[name.removeprefix("options.")] = value
        else:
            values[name] = value
    return values | ({"options": options} if options else {})


def _name(chosen: Mapping[str, Any], experiment: Experiment) -> str:
    """A folder's name that a person can read, and that is another for every other experiment."""
    told = "_".join(f"{name.removeprefix('options.')}-{value}" for name, value in chosen.items())
    text = json.dumps(experiment.parameters(), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r"[^\w.-]+", "-", told)[:180].strip("-.") + ("_" if told else "") + digest
