"""The command line: reads arguments, hands over to the commands, turns errors into one line and a status.

Only ``typer`` is imported here. ``--help`` has to answer at once, so everything heavy (OpenCV, NumPy,
TensorFlow) is imported inside the command that needs it.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from service import (
    benchmark_command,
    compare_command,
    data_commands,
    export_command,
    learn_command,
    model_commands,
    serve_command,
    train_command,
)
from service.config import HardwareDecode, RunSettings
from service.engines import Engine
from service.errors import VideoEventsError

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
PARTLY_DECODED: Final = 3
INTERRUPTED: Final = 130

DEFAULTS: Final = RunSettings()
Learned = learn_command.Learned
HERE: Final = Path()

app = typer.Typer(
    name="video-events",
    help="Tells what is happening in a video, and when.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"video-events {version('video-events')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault.")] = False,
) -> None:
    """Tells what is happening in a video, and when."""


@app.command()
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A video file, an rtsp:// or http:// address, or the number of a camera. "
            "Put -- before a name that starts with a dash.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")
    ] = HERE,
    model: Annotated[str, typer.Option(help="Name of a model that ships, or a model's folder.")] = "sports",
    labels: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Only these labels of the model.", show_default="all")
    ] = None,
    window: Annotated[int, typer.Option(help="Length of the rolling average in frames.")] = DEFAULTS.window,
    window_seconds: Annotated[
        float | None, typer.Option(help="Length of the rolling average in seconds, instead of frames.")
    ] = None,
    enter: Annotated[
        float, typer.Option(help="Smoothed probability from which on an event starts.")
    ] = DEFAULTS.enter,
    exit_: Annotated[
        float, typer.Option("--exit", help="Smoothed probability below which it ends.")
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
        int, typer.Option(help="Frames that go through the network together.")
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

    Writes <name>_events.avi, <name>.events.json, <name>.events.csv and <name>.events.vtt. Ctrl-C
    finishes them with what has been seen so far. Exit status: 0 done, 2 bad arguments or input,
    3 the source could be decoded only in part, 130 interrupted.
    """
    settings = RunSettings(
        window=window,
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
    from service.commands import RunOptions, run_source

    outcome = run_source(
        RunOptions(
            source=source,
            directory=output,
            model=model,
            labels=_split(labels),
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


def _split(labels: str | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    return tuple(label.strip() for label in labels.split(",") if label.strip())


app.add_typer(serve_command.app)
app.add_typer(learn_command.app)
app.add_typer(train_command.app)
app.add_typer(compare_command.app)
app.add_typer(model_commands.app)
app.add_typer(export_command.app)
app.add_typer(data_commands.app)
app.add_typer(benchmark_command.app)


def main() -> None:
    """Entry point of the program ``video-events``."""
    sys.exit(status_of(sys.argv[1:]))


def status_of(arguments: list[str]) -> int:
    """Run the program with ``arguments`` and return its exit status; errors go to stderr as one line."""
    from models.errors import ModelError

    try:
        status = app(arguments, standalone_mode=False)
    except (VideoEventsError, ModelError) as error:
        return _complain(str(error), BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except Exception as error:
        if isinstance(error, _usage_error()):
            return _complain(error.format_message(), BAD_INPUT)
        if arguments[:1] == ["--debug"]:
            raise
        text = f"sorry, this should not happen: {type(error).__name__}: {error}"
        return _complain(f"{text} (video-events --debug {' '.join(arguments[:1])} … tells where)", FAILED)
    return status if isinstance(status, int) else DONE


def _usage_error() -> type[Any]:
    """Click's base of errors in arguments, which newer versions of Typer carry inside themselves."""
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _complain(message: str, status: int) -> int:
    typer.echo("video-events: " + " ".join(message.split()), err=True)
    return status
