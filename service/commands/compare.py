"""The command ``compare``: runs side by side.

Like ``cli``, this module imports nothing heavy until the command runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of grids with runs in them.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="HTML", help="Also write a page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page if it exists.")] = False,
) -> None:
    """Put finished runs side by side: what they differ in, how they did, the best on validation first."""
    from models.data.listing import refuse_to_overwrite
    from models.experiments.compare import as_page, tabulate
    from models.experiments.page import write_comparison_page
    from models.experiments.results import find_runs

    found = find_runs(runs)
    if output is not None:
        refuse_to_overwrite(output, overwrite)
        write_comparison_page(output, "Runs side by side", as_page(found))
    if as_json:
        typer.echo(json.dumps(tabulate(found)))
        return
    from service.commands.grid import show_table

    show_table(found)
