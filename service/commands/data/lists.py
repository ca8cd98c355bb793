"""``data check|split|duplicates|balance|sheet``: what can be done with a list of labelled images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.counted import counted
from service.commands.data.options import (
    AsJson,
    Data,
    GroupColumn,
    ListFile,
    NewList,
    Output,
    Overwrite,
    Seed,
    TestGroups,
    ValidGroups,
    show_counts,
    show_skipped,
    split_of_group,
)
from service.commands.options import names

if TYPE_CHECKING:
    from models.data.check import Finding

WRONG = 1
SHOWN = 10
"""Findings of a kind, unless all are wanted."""

app = typer.Typer()


@app.command()
def check(
    data: Data,
    list_file: ListFile = None,
    group_column: GroupColumn = "group",
    ignore: Annotated[
        str | None, typer.Option(metavar="KIND,KIND", help="Kinds of findings that are all right here.")
    ] = None,
    distance: Annotated[
        int, typer.Option(min=0, max=127, help="Bits of 256 in which near-duplicates may differ.")
    ] = 18,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong: exit status 1 if anything is.

    Missing, unreadable and unlisted images, pictures of other formats, images listed twice, holes in the
    numbering of a group, groups of one class, splits without a label, groups and near-duplicates in
    several splits, near-duplicates with several labels. Ten of each kind are shown, with --json all.
    """
    from models.data import check as tool
    from models.data.listing import open_listing
    from service.progress import progress_bar

    strange = sorted(set(names(ignore)) - tool.KINDS.keys())
    if strange:
        raise typer.BadParameter(f"no kind {', '.join(strange)}; there are {', '.join(tool.KINDS)}")
    listing = open_listing(data, list_file, group_column=group_column)
    with progress_bar("images", len(listing.entries)) as advance:
        findings = tool.check(listing, ignore=names(ignore), distance=distance, progress=advance)
    counts = Counter(finding.kind for finding in findings)
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"images": len(listing.entries), "counts": counts, "findings": found}))
    else:
        for kind in tool.KINDS:
            _show_findings([finding for finding in findings if finding.kind == kind])
        for kind, meaning in tool.KINDS.items():
            if counts[kind]:
                typer.echo(f"video-events: {counts[kind]} {kind} ({meaning})", err=True)
        if not findings:
            typer.echo(f"{counted(len(listing.entries), 'image')}, nothing wrong")
    if findings:
        raise typer.Exit(WRONG)


def _show_findings(findings: Sequence[Finding]) -> None:
    """Findings of one kind, a line each; of thousands the first and their number."""
    for finding in findings[:SHOWN]:
        shown = ": " + ", ".join(finding.paths[:4]) if len(finding.paths) > 1 else ""
        more = f" and {len(finding.paths) - 4} more" if len(finding.paths) > 4 else ""
        typer.echo(f"{finding.kind}: {finding.message}{shown}{more}")
    if len(findings) > SHOWN:
        typer.echo(f"{findings[0].kind}: … and {len(findings) - SHOWN} more; --json has all")


@app.command()
def split(
    data: Data,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="CSV", help="The new list.", show_default="DATA/splits.csv"),
    ] = None,
    list_file: ListFile = None,
    group_column: GroupColumn = "group",
    valid: Annotated[
        float | None, typer.Option(help="Share of the images for validation.", show_default="0.1")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share of the images for the test.", show_default="0.2")
    ] = None,
    valid_groups: ValidGroups = None,
    test_groups: TestGroups = None,
    by_group: Annotated[
        bool, typer.Option("--by-group/--by-image", help="Keep groups whole, or divide them.")
    ] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Leave splits as they are; fill in the rest.")] = False,
    seed: Seed = 1,
    overwrite: Overwrite = False,
) -> None:
    """Add splits: whole groups (videos), each label about alike in every split, as far as groups allow.

    Groups that are named with --valid-groups and --test-groups go there, and all others into train,
    but with --keep for those that have a split.
    """
    from models.data.listing import open_listing, write_listing
    from models.data.split import add_splits, split_by_name

    named = split_of_group(valid_groups, test_groups)
    if named and (valid is not None or test is not None or not by_group):
        raise typer.BadParameter("splits are by group or by share, not both")
    listing = open_listing(data, list_file, group_column=group_column)
    if named:
        entries = split_by_name(listing.entries, named, keep=keep)
    else:
        valid, test = 0.1 if valid is None else valid, 0.2 if test is None else test
        fractions = {"train": 1 - (valid + test), "valid": valid, "test": test}
        entries = add_splits(listing.entries, fractions, seed=seed, by_group=by_group, keep=keep)
        given = {entry.split for entry in entries}
        empty = [name for name, share in fractions.items() if share > 0 and name not in given]
        if empty:
            whole = "; groups stay whole, --by-image divides them" if by_group else ""
            typer.echo(f"video-events: no image for {', '.join(empty)}, there are too few{whole}", err=True)
    target = output or data / "splits.csv"
    write_listing(target, entries, overwrite=overwrite)
    show_counts(entries, target)


@app.command()
def duplicates(
    data: Data,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="CSV", help="Columns group, path, label, split, distance."),
    ] = None,
    list_file: ListFile = None,
    bits: Annotated[int, typer.Option(help="Length of the hash: 64 or 256.")] = 256,
    distance: Annotated[
        int | None,
        typer.Option(help="Bits in which near-duplicates may differ.", show_default="18 of 256, 3 of 64"),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Write the list with split 'excluded' for training images with a copy in valid or test.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write contact sheets of the groups.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Find images that are the same or nearly so, by perceptual hash (difference hash)."""
    from models.data import duplicates as tool
    from models.data.hashes import SIDE_OF_BITS
    from models.data.listing import (
        Entry,
        Listing,
        open_listing,
        refuse_to_overwrite,
        write_listing,
        write_rows,
    )
    from service.progress import progress_bar

    if bits not in SIDE_OF_BITS or (distance is not None and not 0 <= distance < bits // 2):
        raise typer.BadParameter("--bits is 64 or 256, and --distance at least 0 and less than half of it")
    for target in (output, exclude, sheet):
        if target is not None:
            refuse_to_overwrite(target, overwrite)
    listing = open_listing(data, list_file)
    with progress_bar("images", len(listing.entries)) as advance:
        found = tool.find_duplicates(listing, bits=bits, distance=distance, progress=advance)
    show_skipped(found.skipped)
    rows = [
        (number, member.entry.path, member.entry.label, member.entry.split, member.distance)
        for number, group in enumerate(found.groups, 1)
        for member in group
    ]
    if output is not None:
        write_rows(output, ("group", "path", "label", "split", "distance"), rows, overwrite=overwrite)
    if exclude is not None:
        write_listing(exclude, tool.exclude_copies(listing.entries, found), overwrite=overwrite)
    if sheet is not None and rows:
        from models.data.sheet import Layout, write_sheets

        grouped = [Entry(path, label, split, f"{number:06d}") for number, path, label, split, _ in rows]
        write_sheets(
            Listing(listing.root, tuple(grouped), listing.source),
            sheet,
            Layout(by=()),
            caption=lambda entry: f"{int(entry.group)} {entry.split} {entry.label}",
            overwrite=overwrite,
        )
    summary = {
        "images": len(listing.entries),
        "groups": len(found.groups),
        "in_groups": len(rows),
        "across_splits": len(found.across_splits()),
        "across_labels": len(found.across_labels()),
        "skipped": len(found.skipped),
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    if output is None:
        for number, path, label, part, apart in rows:
            typer.echo(f"{number} {path} {label} {part or '-'} {apart}")
    typer.echo(
        f"{summary['groups']} groups with {summary['in_groups']} of {summary['images']} images; "
        f"{summary['across_splits']} in several splits, {summary['across_labels']} with several labels",
        err=output is None,
    )


@app.command()
def balance(
    data: Data,
    output: NewList,
    list_file: ListFile = None,
    to: Annotated[str, typer.Option(help="min, max, median or a number of images of each label.")] = "min",
    split: Annotated[str, typer.Option(help="The split to balance; the others stay.")] = "train",
    copy: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also copy the images of the list into this folder.")
    ] = None,
    seed: Seed = 1,
    overwrite: Overwrite = False,
) -> None:
    """Write a list in which each label is equally frequent: some images left out, or listed again."""
    from models.data.balance import balance as make_balanced
    from models.data.import_images import import_images
    from models.data.listing import Listing, open_listing, refuse_to_overwrite, write_listing
    from service.progress import progress_bar

    listing = open_listing(data, list_file)
    entries = make_balanced(listing.entries, to, split=split, seed=seed)
    for target in (output, copy):
        if target is not None:
            refuse_to_overwrite(target, overwrite)
    write_listing(output, entries, overwrite=overwrite)
    if copy is not None:
        with progress_bar("images", len(entries)) as advance:
            chosen = Listing(listing.root, tuple(entries), listing.source)
            show_skipped(import_images(chosen, copy, overwrite=overwrite, progress=advance).skipped)
    show_counts(entries, output)


@app.command()
def sheet(
    data: Data,
    output: Output,
    list_file: ListFile = None,
    group_column: GroupColumn = "group",
    by: Annotated[str, typer.Option(help="What shares a sheet: of label, group, split.")] = "group,label",
    columns: Annotated[int, typer.Option(help="Pictures in a row.")] = 8,
    rows: Annotated[int, typer.Option(help="Rows on a page.")] = 6,
    tile: Annotated[int, typer.Option(help="Side of a picture in pixels.")] = 160,
    limit: Annotated[int, typer.Option(help="Pictures of a sheet, evenly chosen; 0 is all.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write contact sheets, as JPEG pages by video (group) and label."""
    from models.data.listing import open_listing
    from models.data.sheet import Layout, write_sheets
    from service.progress import progress_bar

    listing = open_listing(data, list_file, group_column=group_column)
    layout = Layout(columns, rows, tile, names(by), limit)
    with progress_bar("images", len(listing.entries)) as advance:
        sheets = write_sheets(listing, output, layout, overwrite=overwrite, progress=advance)
    show_skipped(sheets.skipped)
    typer.echo(f"{len(sheets.pages)} pages in {output}")
