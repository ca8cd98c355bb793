"""``train --grid``: each run in a process of its own, so that none can take the others along."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import typer

from models.errors import ExperimentError
from models.experiments.compare import columns_of, show, tabulate
from models.experiments.grid import EXPERIMENT, PAGE, TABLE, Planned, Table, read_grid, run_grid
from models.experiments.samples import load_groups
from models.report import make_folder
from service.commands.signals import terminate_as_interrupt
from service.lock import only_one

LOG = "log.txt"
PATIENCE = 30.0
"""Seconds that an interrupted run has to end by itself."""


def run_grid_file(file: Path, output: Path, overrides: Mapping[str, Any], *, retry: bool = False) -> None:
    """Run what ``file`` describes in ``output`` and show where it stands.

    Raises ExperimentError for what cannot be run and, in the end, for runs that have failed.
    """
    plan = read_grid(file, overrides, load_groups)
    for planned in plan:
        planned.experiment.check_place(output)
    make_folder(output)
    taken = ExperimentError(f"{output}: a grid, or a run that it began, works here already")
    with only_one(output, taken) as lock, terminate_as_interrupt():
        table = run_grid(
            plan,
            output,
            lambda planned, place: _run(place, lock),
            retry=retry,
            tell=lambda text: typer.echo(text, err=True),
        )
    show_table(table.done, table.failed)
    typer.echo(f"{output / TABLE}, {output / PAGE}")
    _show_means(plan, table)
    if table.failed:
        raise ExperimentError(f"{len(table.failed)} of {len(plan)} runs failed; --retry runs them again")


def show_table(done: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str] | None = None) -> None:
    """Finished runs, the best first, and failed ones with their errors, on standard output."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    rows = tabulate(done)
    hidden = ("calibration_error", "average_precision", "train_loss", "test_loss", "parameters")
    columns = [name for name in columns_of(rows) if not name.endswith(hidden)]
    if rows:
        grid = Grid(*(name.replace("_", " ") for name in columns))
        for row in rows:
            grid.add_row(*(Text(show(row.get(name))) for name in columns))
        # A line that is too long for the terminal is better than figures cut to two digits.
        needed = Console(width=10_000).measure(grid).maximum
        Console(width=max(Console().width, needed)).print(grid)
    for name, error in (failed or {}).items():
        typer.echo(f"failed: {name}: {' '.join(error.split())}")


def _show_means(plan: Sequence[Planned], table: Table) -> None:
    """Of runs that differ in the group held out only, the mean of their test figures."""
    folds: dict[str, list[dict[str, Any]]] = {}
    for planned in plan:
        if planned.experiment.leave_out is not None and planned.name in table.done:
            figures = table.done[planned.name]["splits"].get("test")
            others = planned.experiment.parameters()
            del others["leave_out"]
            if figures is not None:
                folds.setdefault(str(others), []).append(figures)
    for fold in folds.values():
        count = len(fold)
        means = {
            name: sum(one[name] for one in fold) / count
            for name in ("accuracy", "mean_roc_auc")
            if all(one[name] is not None for one in fold)
        }
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in means.items())
        typer.echo(f"each of {count} groups held out in turn, mean on them: {shown}")


def _run(place: Path, lock: IO[str]) -> None:
    """``train --experiment`` as a child, its output in ``log.txt``. Raises ExperimentError if it fails."""
    command = [sys.executable, "-m", "service", "train", "--experiment", str(place / EXPERIMENT)]
    with (place / LOG).open("a") as log:
        child = subprocess.Popen(
            [*command, "-o", str(place)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # The child keeps the lock, so that no second grid begins beside what a killed one left.
            pass_fds=[lock.fileno()],
        )
        try:
            status = child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise ExperimentError(_reason(place / LOG, status))


def _reason(log: Path, status: int) -> str:
    """The last words of a child that failed."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}; was there enough memory? See {log}"
    lines = [
        line for line in log.read_text(errors="replace").splitlines() if line.startswith("video-events: ")
    ]
    return lines[-1].removeprefix("video-events: ") if lines else f"exit status {status}; see {log}"
