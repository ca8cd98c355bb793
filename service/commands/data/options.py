"""Options that several of the commands ``data …`` share, and how they show what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.counted import counted
from service.commands.options import names

if TYPE_CHECKING:
    from models.data.images import Skipped
    from models.data.listing import Entry

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Folder with splits.csv, labels.csv or [<split>/]<label>/<image> in it."
    ),
]
ListFile = Annotated[
    Path | None,
    typer.Option(
        "--list", metavar="CSV", help="The list of the images in DATA.", show_default="the one in DATA"
    ),
]
GroupColumn = Annotated[
    str, typer.Option(help="Column of the list that holds the group; of labels.csv by default the video.")
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")]
NewList = Annotated[Path, typer.Option("--output", "-o", metavar="CSV", help="The new list.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
ValidGroups = Annotated[str | None, typer.Option(metavar="A,B", help="Groups kept for validation.")]
TestGroups = Annotated[str | None, typer.Option(metavar="A,B", help="Groups kept for the test.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Outside = Annotated[str, typer.Option(metavar="LABEL", help="Label of frames outside every line.")]


def split_of_group(valid: str | None, test: str | None) -> dict[str, str]:
    """Groups named by the options, and their split."""
    both = sorted(set(names(valid)) & set(names(test)))
    if both:
        raise typer.BadParameter(f"{', '.join(both)} cannot be in both valid and test")
    return dict.fromkeys(names(valid), "valid") | dict.fromkeys(names(test), "test")


def pairs(text: str | None) -> dict[str, str]:
    """``0=a,1=b`` as a dict."""
    found = [name.partition("=") for name in names(text)]
    if not all(sign and value for _, sign, value in found):
        raise typer.BadParameter(f"{text!r} should look like 0=background,1=key")
    return {key.strip(): value.strip() for key, _, value in found}


def show_counts(entries: Sequence[Entry], file: Path) -> None:
    """Images by label and split, as a table on stderr; the file on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    counts = Counter((entry.label, entry.split) for entry in entries)
    splits = sorted({entry.split for entry in entries}, key=lambda name: (name == "", name))
    table = Table("label", *(split or "no split" for split in splits))
    for label in sorted({entry.label for entry in entries}):
        table.add_row(Text(label or "no label"), *(str(counts[label, split]) for split in splits))
    Console(stderr=True).print(table)
    typer.echo(f"{counted(len(entries), 'image')}, {file}")


def show_skipped(skipped: Sequence[Skipped]) -> None:
    """The images that could not be read, ten at most, and their number, on stderr."""
    for one in skipped[:10]:
        typer.echo(f"video-events: {one.reason}", err=True)
    if skipped:
        typer.echo(f"video-events: {counted(len(skipped), 'image')} skipped", err=True)
