"""The commands ``data …``: tools around labelled images.

Like ``cli``, this module imports nothing heavy until a command runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.data.listing import Entry

app = typer.Typer()
data_app = typer.Typer(help="Tools around labelled images and frames.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
ValidGroups = Annotated[str | None, typer.Option(metavar="A,B", help="Groups kept for validation.")]
TestGroups = Annotated[str | None, typer.Option(metavar="A,B", help="Groups kept for the test.")]


@data_app.command("import-npz")
def import_npz(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="NPZ... CSV...", help="Arrays of images, and their labels in the same order."),
    ],
    output: Output,
    labels: Annotated[
        list[Path] | None, typer.Option(metavar="CSV...", help="Labels, if not among the files.")
    ] = None,
    label_column: Annotated[int, typer.Option(help="Column of the label, counted from 0.")] = 1,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first line is a header.",
            show_default="if there is a line more than images",
        ),
    ] = None,
    names: Annotated[
        str | None, typer.Option(metavar="0=A,1=B", help="Names for what the column says.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Name of the array, if an NPZ has several.")] = None,
    valid: Annotated[float, typer.Option(help="Share of images for validation, at random.")] = 0.0,
    test: Annotated[float, typer.Option(help="Share of images for the test, at random.")] = 0.0,
    valid_groups: ValidGroups = None,
    test_groups: TestGroups = None,
    seed: Seed = 1,
    overwrite: Overwrite = False,
) -> None:
    """Turn arrays of images with label CSVs into DIR/<label>/<group>_<index>.png and DIR/splits.csv.

    A CSV has a line for each image of its NPZ. A group is the name of an NPZ without its suffix. Splits
    are by whole groups (--valid-groups, --test-groups) or at random by image (--valid, --test); what is
    left is for training.
    """
    from models.data import import_npz as tool

    split_of_group = _split_of_group(valid_groups, test_groups)
    if split_of_group and (valid or test):
        raise typer.BadParameter("splits are by group or by share, not both")
    with _progress("images") as advance:
        entries = tool.import_npz(
            [file for file in files if file.suffix.lower() != ".csv"],
            [*(labels or ()), *(file for file in files if file.suffix.lower() == ".csv")],
            output,
            layout=tool.LabelColumn(label_column, header, _pairs(names)),
            key=key,
            fractions={"train": 1 - valid - test, "valid": valid, "test": test} if valid or test else None,
            split_of_group=split_of_group,
            seed=seed,
            overwrite=overwrite,
            progress=advance,
        )
    _show_counts(entries, output / "splits.csv")


def _split_of_group(valid: str | None, test: str | None) -> dict[str, str]:
    return dict.fromkeys(_names(valid), "valid") | dict.fromkeys(_names(test), "test")


def _pairs(text: str | None) -> dict[str, str]:
    pairs = [name.partition("=") for name in _names(text)]
    if not all(sign and value for _, sign, value in pairs):
        raise typer.BadParameter(f"{text!r} should look like 0=background,1=key")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _show_counts(entries: Sequence[Entry], file: Path) -> None:
    """Images by split and label, as a table on stderr; the file on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    counts = Counter((entry.label, entry.split) for entry in entries)
    splits = sorted({entry.split for entry in entries}, key=lambda name: (name == "", name))
    table = Table("label", *(split or "no split" for split in splits))
    for label in sorted({entry.label for entry in entries}):
        table.add_row(Text(label), *(str(counts[label, split]) for split in splits))
    Console(stderr=True).print(table)
    typer.echo(f"{len(entries)} images, {file}")


@contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, on a terminal only; yields what is told the number done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
