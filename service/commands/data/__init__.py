"""The commands ``data …``: tools around labelled images.

Like ``cli``, this package imports nothing heavy until a command runs.
"""

from __future__ import annotations

import typer

from service.commands.data import clips, imports, lists

data_app = typer.Typer(help="Tools around labelled images and frames.", no_args_is_help=True)
for part in (clips, imports, lists):
    data_app.add_typer(part.app)
app = typer.Typer()
app.add_typer(data_app, name="data")
