"""The whole pipeline as ``video-events run`` has it: every frame classified, drawn on and written."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from models.artifact import load_artifact
from service.annotate import Annotator
from service.benchmark.rounds import Reading, Stopwatch
from service.config import RunSettings
from service.engines import Engine, open_engine
from service.pipeline import plan, run
from service.sinks.mjpg_file import MjpgFile
from service.sources import open_source
from service.types import Classifier


class Pipeline:
    """Runs ``clip`` from its start in every round, to its end or until the time is up."""

    def __init__(self, model: str, engine: Engine, clip: Path, folder: Path) -> None:
        self._settings = RunSettings()
        self._clip = str(clip)
        self._output = folder / "pipeline.avi"
        self._classifier: Classifier = open_engine(
            load_artifact(model), engine, batch_size=self._settings.batch_size
        )

    def measure(self, seconds: float) -> Reading:
        watch, frames = Stopwatch(), 0
        deadline = time.perf_counter() + seconds
        while not frames or time.perf_counter() < deadline:
            stop = threading.Event()

            def look(done: int, stop: threading.Event = stop) -> None:
                if time.perf_counter() >= deadline:
                    stop.set()

            with open_source(self._clip) as source:
                flow = plan(source.properties, self._settings)
                sink = MjpgFile(
                    self._output,
                    source.properties.fps,
                    annotator=Annotator(),
                    depth=flow.sink_depth,
                )
                watch.start()
                frames += run(
                    source,
                    "benchmark",
                    self._classifier,
                    self._settings,
                    [sink],
                    stop=stop,
                    on_progress=look,
                ).frames
                watch.stop()
        return watch.reading(frames)

    def close(self) -> None:
        self._output.unlink(missing_ok=True)
