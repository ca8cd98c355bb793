"""What is measured at the moment, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def step_display(console: Console) -> Iterator[Callable[[str, float | None], None]]:
    """Show a bar on a terminal only; yields what is told the step and how much is done (0 to 1, or None)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    # Redrawn twice a second only: whoever measures should not be seen in what is measured.
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=2, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=1.0)

        def step(name: str, done: float | None) -> None:
            if done is None:
                progress.update(task, description=name, total=None)
            else:
                progress.update(task, description=name, total=1.0, completed=done)

        yield step
