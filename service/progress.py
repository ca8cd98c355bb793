"""How far a command is: a bar on the terminal, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from models.datasets import Sample
    from models.evaluate import Evaluation
    from service.types import Classifier


class SpeedColumn(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "–/s", style="progress.data.speed")


@contextmanager
def progress_bar(
    name: str, total: int | None = None, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Show a bar, on stderr unless told otherwise; yields what is to be told the number done so far."""
    console = console or Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


def evaluate_shown(classifier: Classifier, samples: Sequence[Sample], name: str) -> Evaluation:
    """Judge ``classifier`` on images behind a bar."""
    from models.evaluate import evaluate

    with progress_bar(name, len(samples)) as advance_to:
        return evaluate(
            samples,
            classifier.labels,
            classifier.model_input,
            classifier.classify,
            views=classifier.views,
            progress=advance_to,
        )
