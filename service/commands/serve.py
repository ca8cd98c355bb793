"""The command ``serve``. Like ``cli``, this module imports nothing heavy until the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.learn import Learned
from service.engines import Engine
from service.errors import ConfigurationError
from service.logs import LogFormat

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8000")] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Path that a proxy serves this under, and takes away.", show_default="/"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of clips, recordings and events.", show_default="video-events-data"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file with settings, named as in service/README.md."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name of a model that ships, or a model's folder.", show_default="sports"),
    ] = None,
    learned: Learned = None,
    engine: Annotated[Engine | None, typer.Option(help="What runs the network.", show_default="auto")] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE",
            help="A stream to watch: an address, a camera's number, a file; repeatable.",
        ),
    ] = None,
    allow_source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="Host, *.domain or network whose streams clients may add; repeatable."
        ),
    ] = None,
    standby: Annotated[
        bool | None,
        typer.Option(
            help="Keep a second process of the network warm, which takes over at once when the first fails.",
            show_default="with OpenVINO",
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", show_default="info")
    ] = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Lines for people, or JSON for programs.", show_default="text")
    ] = None,
) -> None:
    """Serve the page, live streams, uploads of clips and events, until Ctrl-C or SIGTERM.

    Every setting can also be given as VIDEO_EVENTS_<NAME> in the environment or in the file of
    --config; flags come first, then the environment, then the file. To listen on more than the loopback,
    tokens are needed (VIDEO_EVENTS_TOKENS or the file).
    """
    from service.api.server import serve as serve_until_stopped
    from service.api.settings import load_settings
    from service.child import spare_children_the_program
    from service.engines.stored import StoredModel

    flags = {
        "host": host,
        "port": port,
        "root_path": root_path,
        "data": data,
        "model": model,
        "engine": engine,
        "learned": learned,
        "standby": standby,
        "log_level": log_level,
        "log_format": log_format,
        "streams": _named(stream),
        "allowed_sources": tuple(allow_source) if allow_source else None,
    }
    settings = load_settings(flags, config)
    spare_children_the_program()
    served = StoredModel.find(settings.model, settings.engine)
    if settings.standby is None:  # TensorFlow may hold a GPU, whose memory is scarce
        settings = settings.model_copy(update={"standby": served.engine is Engine.OPENVINO})
    serve_until_stopped(settings, served)


def _named(streams: list[str] | None) -> dict[str, str] | None:
    """Take ``NAME=SOURCE`` apart; what it says in an error never holds the source, which may have secrets."""
    named = {}
    for text in streams or ():
        name, equals, source = text.partition("=")
        if not (name and equals and source) or "://" in name:
            raise ConfigurationError("--stream wants NAME=SOURCE, for instance door=rtsp://192.168.0.9/main")
        if name in named:
            raise ConfigurationError(f"--stream {name}=…: there are two of this name")
        named[name] = source
    return named or None
