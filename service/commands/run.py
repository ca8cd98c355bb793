"""The command ``run``: from one source to its annotated video and its list of events.

Like ``cli``, this module imports nothing heavy until the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from service.commands.learn import Learned
from service.commands.options import names
from service.commands.statuses import INTERRUPTED, PARTLY_DECODED
from service.config import HardwareDecode, RunSettings
from service.engines import Engine
from service.errors import ConfigurationError

DEFAULTS: Final = RunSettings()
HERE: Final = Path()

app = typer.Typer()


@app.command()
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A video file, a folder of images, an rtsp:// or http:// address, or a camera's number. "
            "Put -- before a name that starts with a dash.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")
    ] = HERE,
    model: Annotated[str, typer.Option(help="Name of a model that ships, or a model's folder.")] = "sports",
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help='Only these labels of the model; one with a comma in "double quotes".',
            show_default="all",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Length of the rolling average in classified frames, up to 10000.",
            show_default=str(DEFAULTS.window),
        ),
    ] = None,
    window_seconds: Annotated[
        float | None, typer.Option(help="Its length in seconds instead, for instance with --every.")
    ] = None,
    enter: Annotated[
        float, typer.Option(help="Smoothed probability from which on an event starts, up to 1.")
    ] = DEFAULTS.enter,
    exit_: Annotated[
        float, typer.Option("--exit", help="Smoothed probability below which it ends, at most --enter.")
    ] = DEFAULTS.exit,
    min_duration: Annotated[
        float, typer.Option(help="Seconds that a label must hold to be an event.")
    ] = DEFAULTS.min_duration,
    merge_gap: Annotated[
        float, typer.Option(help="Gaps of the same label shorter than this many seconds are one event.")
    ] = DEFAULTS.merge_gap,
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = Engine.AUTO,
    learned: Learned = None,
    every: Annotated[int, typer.Option(metavar="N", help="Classify every Nth frame only.")] = DEFAULTS.every,
    gate: Annotated[
        bool | None,
        typer.Option(
            "--gate/--no-gate",
            help="Do not classify what looks like the last classified frame.",
            show_default="on live sources only",
        ),
    ] = DEFAULTS.gate,
    batch_size: Annotated[
        int, typer.Option(help="Most frames that go through the network together.")
    ] = DEFAULTS.batch_size,
    hardware_decode: Annotated[
        HardwareDecode, typer.Option(help="Whether a graphics device may decode the video.")
    ] = HardwareDecode.AUTO,
    video: Annotated[bool, typer.Option("--video/--no-video", help="Write the annotated video.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events as JSON, nothing else.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are not of this source.")
    ] = False,
) -> None:
    """Turn a video into an annotated video and a list of events.

    Writes <name>_events.avi, <name>.events.json, <name>.events.csv and <name>.events.vtt. Ctrl-C,
    SIGTERM or SIGHUP finishes them with what has been seen so far. Exit status: 0 done, 1 a fault of this
    program, 2 bad arguments or input, 3 the source could be decoded, or the video written, only in part,
    130 interrupted, 141 what is printed is read no further.
    """
    if window is not None and window_seconds is not None:
        raise ConfigurationError("--window and --window-seconds are two lengths of one average; give one")
    settings = RunSettings(
        window=DEFAULTS.window if window is None else window,
        window_seconds=window_seconds,
        enter=enter,
        exit=exit_,
        min_duration=min_duration,
        merge_gap=merge_gap,
        every=every,
        batch_size=batch_size,
        gate=gate,
    )
    settings.check()
    from service.run import RunOptions, run_source

    outcome = run_source(
        RunOptions(
            source=source,
            directory=output,
            model=model,
            labels=None if labels is None else names(labels),
            engine=engine,
            hardware=hardware_decode,
            settings=settings,
            video=video,
            as_json=as_json,
            overwrite=overwrite,
            learned=learned,
        )
    )
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    if outcome.ended_early:
        raise typer.Exit(PARTLY_DECODED)
