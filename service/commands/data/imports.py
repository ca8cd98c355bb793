"""``data import`` and ``data import-npz``: other forms of data into the one that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.data.options import (
    Data,
    GroupColumn,
    ListFile,
    Output,
    Overwrite,
    Seed,
    TestGroups,
    ValidGroups,
    pairs,
    show_counts,
    show_skipped,
    split_of_group,
)

app = typer.Typer()


@app.command("import")
def import_images(
    data: Data,
    output: Output,
    list_file: ListFile = None,
    group_column: GroupColumn = "group",
    overwrite: Overwrite = False,
) -> None:
    """Copy images of any form into DIR/<label>/<group>_<index> and DIR/splits.csv.

    DATA is a folder with <label>/<image>, with splits.csv (path, label, split, group) or with labels.csv
    (video, frame, label, split). Images without a split become training images; unreadable ones are
    reported and left out.
    """
    from models.data import import_images as tool
    from models.data.listing import open_listing
    from service.progress import progress_bar

    listing = open_listing(data, list_file, group_column=group_column)
    with progress_bar("images", len(listing.entries)) as advance:
        imported = tool.import_images(listing, output, overwrite=overwrite, progress=advance)
    show_skipped(imported.skipped)
    show_counts(imported.entries, output / "splits.csv")


@app.command("import-npz")
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
    from service.progress import progress_bar

    by_group = split_of_group(valid_groups, test_groups)
    if by_group and (valid or test):
        raise typer.BadParameter("splits are by group or by share, not both")
    with progress_bar("images") as advance:
        entries = tool.import_npz(
            [file for file in files if file.suffix.lower() != ".csv"],
            [*(labels or ()), *(file for file in files if file.suffix.lower() == ".csv")],
            output,
            layout=tool.LabelColumn(label_column, header, pairs(names)),
            key=key,
            fractions={"train": 1 - valid - test, "valid": valid, "test": test} if valid or test else None,
            split_of_group=by_group,
            seed=seed,
            overwrite=overwrite,
            progress=advance,
        )
    show_counts(entries, output / "splits.csv")
