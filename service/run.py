"""What the command ``run`` does: opens what it was told, runs the pipeline, shows what came of it."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Final
from urllib.parse import unquote, urlsplit

import cv2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.artifact import load_artifact
from service.annotate import Annotator
from service.config import HardwareDecode, RunSettings
from service.engines import Engine
from service.engines.restricted import RestrictedClassifier, check_labels
from service.engines.stored import StoredModel, open_model
from service.errors import ConfigurationError, SinkError
from service.images import find_images
from service.learning.engine import LearnedModel
from service.learning.lessons import up_to_date
from service.learning.places import user_folder
from service.learning.store import LabelState
from service.pipeline import RunResult, plan, run
from service.progress import progress_bar
from service.sinks.event_files import (
    SUFFIXES,
    EventReport,
    digest_of,
    to_json,
    write_event_files,
    written_for,
)
from service.sinks.mjpg_file import MjpgFile
from service.sources import exists, open_source, redact
from service.types import Classifier, Event

VIDEO_SUFFIX: Final = "_events.avi"
LONGEST_NAME: Final = 255
"""Bytes that a file system takes for the name of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The arguments of ``video-events run``; ``labels`` ``None`` means all that the model has.

    ``learned`` is the folder of learned labels, ``None`` the user's own.
    """

    source: str
    directory: Path
    settings: RunSettings
    model: str = "sports"
    labels: tuple[str, ...] | None = None
    engine: Engine = Engine.AUTO
    hardware: HardwareDecode = HardwareDecode.AUTO
    video: bool = True
    as_json: bool = False
    overwrite: bool = False
    learned: Path | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A classifier and the name and version under which its events are recorded."""

    name: str
    classifier: Classifier


Loader = Callable[[RunOptions], LoadedModel]


def load_model(options: RunOptions) -> LoadedModel:
    """Load the model that ``options`` name; unknown labels are told before the slow part begins."""
    artifact = load_artifact(options.model)
    learned = LearnedModel(StoredModel.read(options.model, options.engine), options.learned or user_folder())
    served = [label.name for label in learned.store.load().of_state(LabelState.SERVED)]
    if options.labels is not None:
        check_labels(options.labels, (*artifact.labels, *served))
    classifier = open_model(artifact, options.engine, batch_size=options.settings.batch_size)
    if served:
        classifier = up_to_date(learned, classifier)
    return LoadedModel(learned.name, classifier)


def input_size(model: str) -> tuple[int, int]:
    """Height and width of what the network takes."""
    preprocessing = load_artifact(model).preprocessing
    return preprocessing.height, preprocessing.width


def run_source(options: RunOptions, load: Loader = load_model) -> RunResult:
    """Run a source and write its outputs.

    Raises ``VideoEventsError`` or ``ModelError``; nothing is left in the directory then, except where the
    lists of events cannot be written, which is raised as ``SinkError`` after the events have been shown.
    """
    cv2.setNumThreads(1)  # decoder, network and encoder keep the cores busy: a pool more gets in their way
    interactive = Console(stderr=True)
    name = display_name(options.source)
    stem = output_stem(options.source)
    directory = options.directory
    digest = source_digest(options.source)
    check_outputs(directory, stem, name, digest, options)
    with ExitStack() as stack:
        enough = None if options.video else input_size(options.model)
        source = stack.enter_context(open_source(options.source, hardware=options.hardware, enough=enough))
        flow = plan(source.properties, options.settings)
        settings = replace(options.settings, batch_size=flow.batch_size)
        with interactive.status(f"Loading model {options.model} …"):
            model = load(replace(options, settings=settings))
        classifier = model.classifier
        if options.labels is not None:
            classifier = RestrictedClassifier(classifier, options.labels)
        stop = stack.enter_context(stop_on_signals())
        video: MjpgFile | None = None
        if options.video:
            make_directory(directory)
            path = directory / (stem + VIDEO_SUFFIX)
            video = MjpgFile(path, source.properties.fps, annotator=Annotator(), depth=flow.sink_depth)
        with progress_bar(name, source.properties.frame_count, interactive) as advance:
            result = run(
                source,
                stem,
                classifier,
                settings,
                [video] if video else [],
                stop=stop,
                on_progress=advance,
            )
        report = EventReport.of(name, model.name, settings, result, digest)
        files = [video.path] if video and video.is_kept else []
        unwritten: SinkError | None = None
        try:
            make_directory(directory)
            files += write_event_files(directory, stem, report)
        except SinkError as error:
            unwritten = error
    if options.as_json:
        sys.stdout.write(to_json(report))
    else:
        show(Console(), result, files)
    explain(result)
    if unwritten:
        raise unwritten
    return result


def display_name(source: str) -> str:
    """The file's name without its folders, or the address without credentials."""
    return redact(source) if "://" in source else Path(source).name or source


def output_stem(source: str) -> str:
    """What output names begin with: the file's stem, or what an address ends in.

    Addresses that differ in their query only are told apart by some digits made of it: it may hold secrets.

    >>> output_stem("a/match.final.mp4"), output_stem("rtsp://me:secret@cam:554/hall/1"), output_stem("0")
    ('match.final', 'cam_hall_1', 'camera0')
    >>> output_stem("http://cam/live.mjpg?camera=2&token=secret")
    'cam_live_0e2015'
    """
    if "://" in source and not exists(Path(source)):
        parts = urlsplit(source)
        path = PurePosixPath(parts.path)
        place = f"{parts.hostname or ''}{path.parent / path.stem}"
        stem = re.sub(r"[^\w.-]+", "_", place).strip("_.") or "stream"
        query = blake2b(parts.query.encode(), digest_size=3).hexdigest()
        return f"{stem}_{query}" if parts.query else stem
    if source.isdigit() and not exists(Path(source)):
        return f"camera{source}"
    return Path(source).stem or Path(source).resolve().name or "video"


def source_digest(source: str) -> str | None:
    """Of a file, or of images by their place, names and sizes; None for all else, as what is not there."""
    try:
        path = local_path(source)
        if path is None or path.is_file():
            return digest_of(path) if path else None
        images = [f"{image.name} {image.stat().st_size}" for image in find_images(path)]
        told = "\n".join([str(path.absolute()), *images])
        return blake2b(os.fsencode(told), digest_size=16).hexdigest() if images else None
    except OSError:  # opening it will tell
        return None


def local_path(source: str) -> Path | None:
    """Where a source lies on a disk of this machine; None for addresses and devices."""
    path = Path(source)
    if not exists(Path(source)):
        if source.lower().startswith("file://"):
            path = Path(unquote(urlsplit(source).path))
        elif "://" in source or source.isdigit():
            return None
    return None if path.is_char_device() else path


def check_outputs(directory: Path, stem: str, name: str, digest: str | None, options: RunOptions) -> None:
    """Refuse, before any work, to write over the source or over files that are not results for it.

    What an address or a device shows is another thing each time, so its results are never replaced unasked.
    Raises ``ConfigurationError`` for these, ``SinkError`` for a directory that cannot be written.
    """
    if len(os.fsencode(f"{stem}{SUFFIXES[0]}.part")) > LONGEST_NAME:
        raise ConfigurationError(f"{name} is too long a name for results to be called so; rename it")
    suffixes = (*SUFFIXES, VIDEO_SUFFIX) if options.video else SUFFIXES
    existing = [path for suffix in suffixes if (path := directory / (stem + suffix)).exists()]
    source = local_path(options.source)
    for path in existing:
        if source and source.exists() and path.samefile(source):
            raise ConfigurationError(f"{path} is the source itself; choose another directory with --output")
    is_same = digest is not None and written_for(directory / (stem + SUFFIXES[0]), name, digest)
    if existing and not options.overwrite and not is_same:
        raise ConfigurationError(
            f"{existing[0]} exists and is not known to be a result for this {name}; "
            "choose another directory with --output, or say --overwrite"
        )
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"--output {directory} is not a directory")
    if directory.is_dir() and not os.access(directory, os.W_OK | os.X_OK):
        raise SinkError(f"cannot write into {directory}: permission denied")


def make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the directory {directory}: {error.strerror}") from error


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Set the event at the first Ctrl-C or SIGTERM; a second one raises KeyboardInterrupt at once."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(console: Console, result: RunResult, files: Sequence[Path]) -> None:
    """Print the events as a table, and where the files lie."""
    if result.events:
        table = Table("event", "start", "end", "mean", "peak", "delay", "ended by")
        for event in result.events:
            table.add_row(*_cells(event))
        console.print(table)
    else:
        console.print("no events")
    unchanged = f", {result.reused} of them unchanged" if result.reused else ""
    console.print(f"{result.frames} frames{unchanged}, {timecode(result.duration)} at {result.fps:.5g} fps")
    for path in files:
        console.print(Text(str(path)), soft_wrap=True)


def explain(result: RunResult) -> None:
    """Say on stderr, a line for each reason, why the outputs do not cover the whole source, if so."""
    if result.interrupted:
        seen = f"results cover the first {timecode(result.duration)} ({result.frames} frames)"
        print(f"video-events: interrupted; {seen}", file=sys.stderr)
    if result.ended_early:
        print(f"video-events: {result.ended_early}", file=sys.stderr)


def _cells(event: Event) -> tuple[str | Text, ...]:
    return (
        Text(event.label),
        timecode(event.start_pts),
        timecode(event.end_pts or 0.0),
        f"{event.mean_confidence:.1%}",
        f"{event.peak_confidence:.1%}",
        f"{event.detect_delay:.3f} s",
        str(event.end_reason).replace("_", " "),
    )


def timecode(seconds: float) -> str:
    """Media time as ``mm:ss.mmm``, or ``h:mm:ss.mmm`` from one hour on.

    >>> timecode(63.0504), timecode(3600)
    ('01:03.050', '1:00:00.000')
    """
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minute = divmod(minutes, 60)
    tail = f"{minute:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    return f"{hours}:{tail}" if hours else tail
