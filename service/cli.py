"""The command line: reads arguments, hands over to the commands, turns errors into one line and a status.

Only ``typer`` is imported here. ``--help`` has to answer at once, so everything heavy (OpenCV, NumPy,
TensorFlow) is imported inside the command that needs it.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from service.commands import benchmark, compare, data, export, learn, models, run, serve, train
from service.commands.statuses import BAD_INPUT, DONE, FAILED, INTERRUPTED, NOBODY_READS
from service.errors import VideoEventsError

app = typer.Typer(
    name="video-events",
    help="Tells what is happening in a video, and when.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _join_lines(part: typer.Typer) -> None:
    """Give each command its docstring as help, a line for each paragraph: Typer would break them twice."""
    for command in part.registered_commands:
        if command.callback and command.callback.__doc__:
            command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.callback.__doc__))
    for group in part.registered_groups:
        if group.typer_instance:
            _join_lines(group.typer_instance)


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


for part in (run, serve, learn, train, compare, models, export, data, benchmark):
    app.add_typer(part.app)
_join_lines(app)


def main() -> None:
    """Entry point of the program ``video-events``."""
    sys.exit(status_of(sys.argv[1:]))


def status_of(arguments: list[str]) -> int:
    """Run the program with ``arguments`` and return its exit status; errors go to stderr as one line."""
    from models.errors import ModelError

    if sys.stdout is None and "--json" in arguments:
        return _complain("--json prints to standard output, which is closed", BAD_INPUT)
    try:
        status = _invoke(arguments)
        print(end="", flush=True)
    except (VideoEventsError, ModelError) as error:
        return _complain(str(error), BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return NOBODY_READS
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        return NOBODY_READS  # Rich has dropped the output already
    except Exception as error:
        if isinstance(error, _usage_error()):
            if not error.format_message():  # nothing was given: all the help has been printed
                return BAD_INPUT
            context = getattr(error, "ctx", None)
            more = f" ('{context.command_path} --help' tells more)" if context else ""
            return _complain(f"{error.format_message()}{more}", BAD_INPUT)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _drop_output()
            return _complain(f"cannot write: {error.strerror}", BAD_INPUT)
        if arguments[:1] == ["--debug"]:
            raise
        text = f"sorry, this should not happen: {type(error).__name__}: {error}"
        return _complain(f"{text} (video-events --debug {' '.join(arguments[:1])} … tells where)", FAILED)
    return status


def _invoke(arguments: list[str]) -> int:
    """As ``app`` does, but Ctrl-C and what has happened to the output are not taken for a status."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("video-events", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    return DONE


def _drop_output() -> None:
    """Keep Python from trying once more, when it ends, to print what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_error() -> type[Any]:
    """Click's base of errors in arguments, which newer versions of Typer carry inside themselves."""
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _complain(message: str, status: int) -> int:
    typer.echo("video-events: " + " ".join(message.split()), err=True)
    return status
