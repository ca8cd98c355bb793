"""Clip models served: `run`, uploads and live streams agree; streams in one process do not mix."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.config import RunSettings
from service.inference.client import RemoteClassifier
from service.inference.queueing import BatchSettings, Priority
from service.inference.server import InferenceListener, InferenceServer, InferenceSettings
from service.inference.wire import InferenceAddress
from service.pipeline import run
from service.sources import open_source
from service.streams.recogniser import Recogniser, Result
from service.types import Classifier, Frame, Image
from service.windows import WindowedClassifier
from tests.service.api.conftest import make_clip, serving
from tests.service.fakes import ClipColours, ListSink, scene
from tests.service.live import Follower, wait_for_state, within

FRAMES = 5
SCENES = ["background"] * 12 + ["red"] * 15 + ["green"] * 3 + ["blue"] * 15


@dataclass(frozen=True)
class ClipModel:
    """A clip model that processes can load."""

    name = "clip colours 1"
    labels = ClipColours.labels
    views = 1

    def model_input(self, image: Image, view: int = 0) -> Image:
        return ClipColours().model_input(image)

    def open(self, batch_size: int) -> Classifier:
        return WindowedClassifier(ClipColours(FRAMES))


def test_a_clip_gives_the_same_everywhere(tmp_path: Path) -> None:
    """Probabilities of a stream are to the digit those of `run`, and an upload has the same events."""
    clip = make_clip(tmp_path / "clip.avi", SCENES)
    sink = ListSink()
    with open_source(str(clip)) as source:
        settings = RunSettings(window=1, min_duration=0.3, merge_gap=0.5)
        expected = run(source, "clip", WindowedClassifier(ClipColours(FRAMES)), settings, [sink])
    assert len({step.smoothed.confidence for step in sink.steps if step.smoothed}) > FRAMES
    options = {"window": 1, "min_duration": 0.3, "merge_gap": 0.5}
    streams = {"demo": {"source": str(clip), **options}}
    with serving(tmp_path / "data", ClipModel(), streams=streams) as served:
        with Follower(served, "/streams/demo/labels?mode=lossless") as follower:
            wait_for_state(served, "demo", "ended", seconds=within(60))
            labels = follower.messages("label")
        upload = served.upload(clip, **{name: str(value) for name, value in options.items()})
        done = served.wait_for(upload.json()["id"], "done")
    by_pts = {round(step.frame.pts, 3): step for step in sink.steps}
    assert len(labels) > FRAMES
    for message in labels:
        smoothed = by_pts[round(message["pts"], 3)].smoothed
        assert smoothed
        assert message["label"] == smoothed.label
        assert message["confidence"] == pytest.approx(smoothed.confidence, abs=1e-4)
    found = [(e["label"], round(e["start_pts"], 3), round(e["end_pts"], 3)) for e in done["events"]]
    assert found == [
        (event.label, round(event.start_pts, 3), round(event.end_pts or 0, 3)) for event in expected.events
    ]


@contextmanager
def server_of(engine: ClipColours) -> Iterator[InferenceAddress]:
    """The inference process's own code, in a thread, so that the engine's counts can be read."""
    stopping = threading.Event()
    settings = InferenceSettings(batching=BatchSettings(max_batch=4, max_wait=0.005))

    def serve() -> None:
        with InferenceServer(listener.socket, WindowedClassifier(engine), settings) as server:
            while not stopping.is_set():
                server.step(0.05)

    with InferenceListener() as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.address
        finally:
            stopping.set()
            thread.join(10)
            assert not thread.is_alive()


def test_streams_share_the_network_but_not_their_windows() -> None:
    """Two live streams and an upload at once: one pass per frame, and each gets what it would get alone."""
    rng = np.random.default_rng(3)
    films = [rng.integers(0, 256, (30, 8, 8, 3), np.uint8) for _ in range(3)]
    engine = ClipColours(FRAMES)

    def follow(
        priority: Priority, film: npt.NDArray[np.uint8], step: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        with RemoteClassifier(address, engine, priority=priority, slots=step) as classifier:
            rows = [classifier.classify(film[start : start + step]) for start in range(0, len(film), step)]
            classifier.reset()
            return np.concatenate(rows), classifier.classify(film[7:9])

    with server_of(engine) as address, ThreadPoolExecutor(3) as threads:
        priorities = [Priority.LIVE, Priority.LIVE, Priority.UPLOAD]
        found = list(threads.map(follow, priorities, films, [1, 2, 7]))
    assert engine.encoded == engine.decided == 3 * (30 + 2)
    for film, (rows, after_reset) in zip(films, found, strict=True):
        np.testing.assert_allclose(rows, WindowedClassifier(ClipColours(FRAMES)).classify(film), atol=1e-6)
        np.testing.assert_allclose(
            after_reset, WindowedClassifier(ClipColours(FRAMES)).classify(film[7:9]), atol=1e-6
        )


def test_a_cut_of_a_live_stream_begins_a_window() -> None:
    """After a covered or lost camera no frame from before has a say in the label."""

    def result_of(recogniser: Recogniser, name: str, era: int) -> Result:
        deadline = time.monotonic() + 20
        while not recogniser.is_idle:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        recogniser.submit(Frame("camera", 0, 0.0, 0.0, scene(name)), era)
        while not (result := recogniser.take()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return result

    recogniser = Recogniser(lambda _: nullcontext(WindowedClassifier(ClipColours(FRAMES))))
    red = result_of(recogniser, "red", era=1).probabilities
    mixed = result_of(recogniser, "blue", era=1).probabilities
    cut = result_of(recogniser, "blue", era=2).probabilities
    recogniser.close()
    labels = ClipColours.labels
    assert red[labels.index("red")] > 0.9
    assert mixed[labels.index("red")] > 0.3
    assert cut[labels.index("red")] < 0.1
