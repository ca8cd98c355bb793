"""What the command ``run`` does: opens what it was told, runs the pipeline, has results written and shown."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import cv2
from rich.console import Console

from models.artifact import load_artifact
from service.annotate import Annotator
from service.config import HardwareDecode, RunSettings
from service.engines import Engine
from service.engines.restricted import RestrictedClassifier, check_labels
from service.engines.stored import StoredModel, open_model
from service.errors import SinkError
from service.learning.engine import LearnedModel
from service.learning.lessons import up_to_date
from service.learning.places import user_folder
from service.learning.store import LabelState
from service.outputs import Outputs
from service.pipeline import RunResult, plan, run
from service.progress import progress_bar
from service.sinks.event_files import EventReport, to_json
from service.sinks.mjpg_file import MjpgFile
from service.sources import open_source
from service.summary import explain, show
from service.terminals import leave_closed, open_terminals
from service.types import Classifier


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
    outputs = Outputs.of(options.source, options.directory)
    outputs.check(with_video=options.video, overwrite=options.overwrite)
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
            outputs.make_directory()
            video = MjpgFile(
                outputs.video,
                source.properties.fps,
                pixel_aspect=source.properties.pixel_aspect,
                annotator=Annotator(),
                depth=flow.sink_depth,
            )
        with progress_bar(outputs.name, source.properties.frame_count, interactive) as advance:
            result = run(
                source,
                outputs.stem,
                classifier,
                settings,
                [video] if video else [],
                stop=stop,
                on_progress=advance,
            )
        report = EventReport.of(outputs.name, model.name, settings, result, outputs.digest)
        files = [video.path] if video and video.is_kept else []
        unwritten: SinkError | None = None
        try:
            files += outputs.write_events(report)
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


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Set the event at the first Ctrl-C, SIGTERM or, where it is not ignored (``nohup``), SIGHUP.

    A second Ctrl-C or SIGTERM raises KeyboardInterrupt at once.
    """
    stop = threading.Event()
    terminals = open_terminals()

    def handle(received: int, _frame: FrameType | None) -> None:
        if received == signal.SIGHUP:  # which comes from the kernel, and once more from the shell
            leave_closed(terminals)
        elif stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
