"""Options of commands that read labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.config import listed

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder with <label>/<image> in it.")]
Splits = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV", help="Columns path, label, split.", show_default="DATA/splits.csv, else random"
    ),
]
Background = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with <group>/<image>: the class 'background'."),
]
Groups = Annotated[
    str | None, typer.Option(metavar="A,B", help="Groups of the background kept for this split.")
]
Labels = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Only images of these labels.", show_default="all")
]
ImagenetWeights = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="TensorFlow.js ResNet50 with these weights.", show_default="download"),
]


def names(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated list, if there is one."""
    return listed(text or "")
