"""What ``video-events benchmark`` does, part by part; what is measured is kept whatever comes next."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from models.artifact import load_artifact
from models.errors import ModelError
from service.benchmark import Part
from service.benchmark.camera import Camera
from service.benchmark.clip import Clip, inspect, make_clip
from service.benchmark.engines import convert_openvino
from service.benchmark.footprint import measure_growth
from service.benchmark.listening import Audience
from service.benchmark.live import LivePlan, measure_streams, measure_subscribers
from service.benchmark.machine import describe
from service.benchmark.networks import export_onnx
from service.benchmark.queries import measure_queries
from service.benchmark.report import frame_figures
from service.benchmark.rounds import Rounds, in_own_process, run_rounds
from service.benchmark.served import Service
from service.benchmark.statistics import significant
from service.benchmark.subjects import FP32, ONNX, engine_candidates, pipeline_candidates
from service.engines import Engine
from service.engines.devices import cores
from service.errors import BenchmarkError, VideoEventsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and how long. Seconds are of wall clock."""

    parts: tuple[Part, ...] = tuple(Part)
    model: str = "sports"
    engine: Engine = Engine.AUTO
    clip: Path | None = None
    rounds: int = 7
    round_seconds: float = 3.0
    clip_frames: int = 250
    lengths: tuple[int, ...] = (1, 2, 4)
    events: int = 1_000_000
    streams: int = 4
    stream_seconds: float = 30.0
    step_seconds: float = 10.0
    rate: float = 5.0
    sources: tuple[str, ...] = ()
    find_limit: bool = False
    subscribers: int = 200
    subscriber_seconds: float = 10.0

    def document(self) -> dict[str, Any]:
        return {
            "parts": [part.value for part in self.parts],
            "model": self.model,
            "engine": self.engine.value,
            "rounds": self.rounds,
            "round_seconds": self.round_seconds,
        }


FIGURES: Final = ("frames", "growth", "events", "streams", "subscribers")
"""What of the result is measured."""

OnStep = Callable[[str, float | None], None]
"""Told what is measured now, and how much of it is done (0 to 1) where that is known."""


class Suite:
    """Runs the parts; ``result`` holds every figure so far, at any moment."""

    def __init__(self, settings: Settings, on_step: OnStep = lambda name, done: None) -> None:
        """Raises ModelError for a model that is not there, ``BenchmarkError`` for a source of no host."""
        _hosts(settings.sources)
        artifact = load_artifact(settings.model)
        self._settings = settings
        self._on_step = on_step
        self._rounds = Rounds()
        self._skipped: dict[str, str] = {}
        self._began = time.monotonic()
        self.result: dict[str, Any] = {
            "machine": describe(),
            "settings": settings.document() | {"network": f"{artifact.name} {artifact.version}"},
            "skipped": self._skipped,
        }

    def run(self) -> None:
        """Raises SourceError or ``BenchmarkError`` for a clip or a source that cannot be used."""
        parts = set(self._settings.parts)
        with _scratch_folder() as folder:
            try:
                if parts - {Part.EVENTS}:
                    clip = self._clip(folder)
                if parts & {Part.PIPELINE, Part.ENGINES}:
                    self._frames(clip, folder)
                if Part.GROWTH in parts:
                    self._growth(clip, folder)
                if Part.EVENTS in parts:
                    self._events(folder)
                if parts & {Part.STREAMS, Part.SUBSCRIBERS}:
                    self._live(clip, folder)
            finally:
                self.note()

    @property
    def has_measured(self) -> bool:
        """Whether ``result`` has any figure by now."""
        return any(self.result.get(name) for name in FIGURES)

    def note(self) -> None:
        """Bring the figures of the rounds, and the time taken, up to date."""
        if self._rounds.readings:
            self.result["frames"] = frame_figures(self._rounds, cores())
        self._skipped |= self._rounds.skipped
        self.result["seconds"] = significant(time.monotonic() - self._began, 4)

    def _clip(self, folder: Path) -> Clip:
        settings = self._settings
        self._on_step("clip", None)
        clip = inspect(settings.clip if settings.clip else make_clip(folder, settings.clip_frames))
        self.result["clip"] = clip.document()
        return clip

    def _frames(self, clip: Clip, folder: Path) -> None:
        settings = self._settings
        candidates, engines = [], []
        if Part.PIPELINE in settings.parts:
            candidates += pipeline_candidates(settings.model, settings.engine, clip.path, folder)
        if Part.ENGINES in settings.parts:
            for name, convert in (
                ("onnx", partial(export_onnx, settings.model, clip.path, folder / ONNX)),
                ("openvino", partial(convert_openvino, settings.model, folder / FP32)),
            ):
                self._on_step(f"convert the network ({name})", None)
                with self._tolerated(name):
                    in_own_process(convert)
            engines = engine_candidates(settings.model, clip.path, folder)
            candidates += engines
        total = len(candidates) * (settings.rounds + 1)
        done = -1

        def step(name: str) -> None:
            nonlocal done
            done += 1
            self._on_step(name, min(1.0, done / total))

        run_rounds(candidates, settings.rounds, settings.round_seconds, self._rounds, step)
        if engines and not any(engine.name in self._rounds.readings for engine in engines):
            self._skipped[Part.ENGINES.value] = "none of them could be measured"

    def _growth(self, clip: Clip, folder: Path) -> None:
        settings = self._settings
        growth = self.result["growth"] = {}
        with self._tolerated("growth"):
            measure_growth(
                clip,
                settings.lengths,
                settings.model,
                settings.engine,
                folder,
                growth,
                lambda name: self._on_step(name, None),
            )

    def _events(self, folder: Path) -> None:
        count = self._settings.events
        with self._tolerated("events"):
            self.result["events"] = measure_queries(
                folder, count, lambda done: self._on_step(f"{count:,} events", done / count)
            )

    def _live(self, clip: Clip, folder: Path) -> None:
        settings = self._settings

        def step(name: str) -> None:
            self._on_step(name, None)

        with ExitStack() as stack:
            sources = settings.sources
            if not sources:
                step("camera")
                sources = (stack.enter_context(Camera(clip.path)).address,)
            step("video-events serve")
            service = Service(settings.model, settings.engine, folder, _hosts(sources))
            stack.enter_context(service)
            audience = stack.enter_context(Audience())
            if Part.STREAMS in settings.parts:
                plan = LivePlan(
                    streams=settings.streams,
                    rate=settings.rate,
                    seconds=settings.stream_seconds,
                    step_seconds=settings.step_seconds,
                    sources=sources,
                    find_limit=settings.find_limit,
                )
                streams = self.result["streams"] = {}
                with self._tolerated("streams"):
                    measure_streams(service, audience, plan, streams, step)
            if Part.SUBSCRIBERS in settings.parts:
                counts = sorted({max(1, settings.subscribers // part) for part in (4, 2, 1)})
                subscribers = self.result["subscribers"] = {}
                with self._tolerated("subscribers"):
                    measure_subscribers(
                        service, audience, sources[0], counts, settings.subscriber_seconds, subscribers, step
                    )

    @contextmanager
    def _tolerated(self, name: str) -> Iterator[None]:
        """Note why something could not be measured, and go on."""
        try:
            yield
        except (VideoEventsError, ModelError) as error:
            self._skipped[name] = str(error)


def _hosts(sources: Iterable[str]) -> list[str]:
    """Raises ``BenchmarkError`` for what is no address. It is not repeated: it may hold a password."""
    hosts = set()
    for source in sources:
        host = None
        with suppress(ValueError):  # of brackets without an address in them
            host = urlsplit(source).hostname
        if host is None:
            raise BenchmarkError("--source wants the address of a stream, as rtsp://192.168.0.9/main")
        hosts.add(host)
    return sorted(hosts)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder for all that is made, which goes in the end.

    It is that of temporary files, too, of all processes that are started: TensorFlow and others leave theirs
    behind where they are killed.
    """
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="video-events-benchmark-") as name:
        os.environ["TMPDIR"] = name
        try:
            yield Path(name)
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
