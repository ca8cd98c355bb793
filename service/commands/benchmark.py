"""The command ``benchmark``. Like ``cli``, this module imports nothing heavy until the command runs."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from service.benchmark import Part
from service.commands.signals import terminate_as_interrupt
from service.commands.statuses import INTERRUPTED
from service.engines import Engine
from service.errors import BenchmarkError, ConfigurationError

RESULT: Final = "benchmark.json"

app = typer.Typer()


@app.command()
def benchmark(
    part: Annotated[
        list[Part] | None,
        typer.Option(
            metavar="NAME",
            help=f"One of {', '.join(Part)}; repeatable. One that cannot be measured is an error.",
            show_default="all",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small and short: minutes, rougher.")] = False,
    clip: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Video to work on, of 8 frames or more.", show_default="made, 720p"
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Name of a model that ships, or a model's folder.")] = "sports",
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = Engine.AUTO,
    rounds: Annotated[int | None, typer.Option(help="Interleaved rounds.", show_default="7")] = None,
    streams: Annotated[int | None, typer.Option(help="Live streams to hold.", show_default="4")] = None,
    minutes: Annotated[float | None, typer.Option(help="How long to hold them.", show_default="0.5")] = None,
    rate: Annotated[float, typer.Option(help="Classifications per second of each stream.")] = 5.0,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Stream to use, several in turn; repeatable.",
            show_default="own camera, MJPEG over HTTP, 640×360, 25 fps",
        ),
    ] = None,
    find_limit: Annotated[
        bool, typer.Option("--find-limit", help="Then add streams until labels come late or one starves.")
    ] = False,
    subscribers: Annotated[
        int | None, typer.Option(help="Most listeners to one stream.", show_default="200")
    ] = None,
    events: Annotated[
        int | None, typer.Option(help="Events in the log that is asked.", show_default="1000000")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help=f"Write {RESULT} here, too.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the figures, as PNG or SVG.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with every figure, nothing else.")
    ] = False,
) -> None:
    """Measure what this machine can do, and how near to it the service comes.

    The lecture's loop (predict one frame after the other), the same network in every engine that is
    installed, each stage alone and the whole pipeline take turns in interleaved rounds. Then come longer
    clips, a large event log, live streams and many subscribers. Prints tables and one line of JSON. Ctrl-C,
    SIGTERM or SIGHUP prints what has been measured until then. Leave the machine alone meanwhile.

    Exit status: 0 done, 1 a fault of this program, 2 bad arguments, or a part that --part names could
    not be measured, 130 interrupted, 141 what is printed is read no further.
    """
    counts = {"rounds": rounds, "streams": streams, "subscribers": subscribers, "events": events}
    for name, value in (counts | {"minutes": minutes, "rate": rate}).items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigurationError(f"--{name} must be above 0 and finite, got {value:g}")
    seconds = None if minutes is None else 60 * minutes
    from rich.console import Console

    from service.benchmark import plot as plotting
    from service.benchmark.progress import step_display
    from service.benchmark.report import show
    from service.benchmark.suite import Settings, Suite

    parts = tuple(dict.fromkeys(part or Part))
    if output is not None:
        _make(output)
    if plot is not None:
        plotting.check(plot, parts)
    settings = Settings(
        parts=parts,
        model=model,
        engine=engine,
        clip=clip,
        rate=rate,
        sources=tuple(source or ()),
        find_limit=find_limit,
        **_overrides(quick, **counts, stream_seconds=seconds),
    )
    failure: Exception | None = None
    with step_display(Console(stderr=True)) as on_step:
        suite = Suite(settings, on_step)
        try:
            with terminate_as_interrupt():
                suite.run()
        except KeyboardInterrupt:
            failure = typer.Exit(INTERRUPTED)
        except Exception as error:  # whatever it is, what was measured until then is told first
            if not suite.has_measured:
                raise
            failure = error
    skipped = suite.result["skipped"]
    if failure is None and (missing := [name for name in parts if part and name in skipped]):
        failure = BenchmarkError(
            "; ".join(f"{name} could not be measured: {skipped[name]}" for name in missing)
        )
    interrupted = isinstance(failure, typer.Exit)
    suite.result["interrupted"] = interrupted
    line = json.dumps(suite.result, allow_nan=False)
    if not as_json:
        show(Console(), suite.result)
    sys.stdout.write(line + "\n")
    if interrupted:
        print("video-events: interrupted; these are the figures until then", file=sys.stderr)
    try:
        if output is not None:
            _write(output, line)
        if plot is not None:
            plotting.draw(suite.result, plot)
    finally:
        if failure is not None:
            raise failure


QUICK: Final[dict[str, Any]] = {
    "rounds": 3,
    "round_seconds": 1.0,
    "clip_frames": 75,
    "lengths": (1, 2),
    "events": 20_000,
    "streams": 2,
    "stream_seconds": 6.0,
    "step_seconds": 3.0,
    "subscribers": 20,
    "subscriber_seconds": 3.0,
}


def _overrides(quick: bool, **given: Any) -> dict[str, Any]:
    """The settings that differ from the defaults; what was given goes before what is quick."""
    return (QUICK if quick else {}) | {name: value for name, value in given.items() if value is not None}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"cannot write into {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BenchmarkError(f"cannot write into {folder}: permission denied")


def _write(folder: Path, line: str) -> None:
    try:
        (folder / RESULT).write_text(line + "\n", encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(f"cannot write into {folder}: {error.strerror}") from error
