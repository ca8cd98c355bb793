"""The whole pipeline as ``video-events run`` has it: every frame classified, drawn on and written."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from models.artifact import load_artifact
from service.annotate import Annotator
from service.benchmark.rounds import Reading, Stopwatch
from service.config import RunSettings
from service.engines import Engine
from service.engines.stored import open_model
from service.pipeline import plan, run
from service.sinks.mjpg_file import MjpgFile
from service.sources import Source, open_source
from service.types import Classifier, Frame, SourceProperties

FEWEST: Final = 64
"""Frames of a round at least."""
LONGER: Final = 3
"""So much longer are its rounds than those of a stage: the queues are filled and emptied once in each, and a
clip is longer than a round."""


class Pipeline:
    """Runs ``clip`` from its start in every round, for as many frames as the time should do for.

    It is not stopped when the time is up: what was read ahead by then would have been worked on for nothing.
    """

    def __init__(self, model: str, engine: Engine, clip: Path, folder: Path) -> None:
        self._settings = RunSettings()
        self._clip = str(clip)
        self._output = folder / "pipeline.avi"
        self._fps = 0.0
        self._classifier: Classifier = open_model(
            load_artifact(model), engine, batch_size=self._settings.batch_size
        )

    def measure(self, seconds: float) -> Reading:
        watch, frames = Stopwatch(), 0
        wanted = max(FEWEST, round(self._fps * seconds * LONGER))
        while frames < wanted:
            with Beginning(open_source(self._clip), wanted - frames) as source:
                flow = plan(source.properties, self._settings)
                sink = MjpgFile(
                    self._output, source.properties.fps, annotator=Annotator(), depth=flow.sink_depth
                )
                watch.start()
                frames += run(source, "benchmark", self._classifier, self._settings, [sink]).frames
                watch.stop()
        reading = watch.reading(frames)
        self._fps = reading.fps
        return reading


class Beginning:
    """The first ``count`` frames of another source, closed with it; meets the Protocol ``Source``."""

    ended_early = False
    ending = None

    def __init__(self, source: Source, count: int) -> None:
        self._source = source
        self._count = count

    @property
    def properties(self) -> SourceProperties:
        return self._source.properties

    @property
    def frames_read(self) -> int:
        return self._source.frames_read

    def read(self) -> Frame | None:
        return self._source.read() if self.frames_read < self._count else None

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
