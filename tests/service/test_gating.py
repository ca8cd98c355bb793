"""The gate before the network: what it holds back, what it must not, and that events stay as they are."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.preprocessing import resize
from service.config import RunSettings
from service.errors import InferenceLostError
from service.gating import BLOCKS, LONGEST, OPENS_AT, WEIGHT, Gate
from service.pipeline import RunResult, run
from service.streams.recogniser import Recogniser, Result
from service.types import Frame, Image, SourceProperties
from tests.service.fakes import COLOURS, ColourClassifier, ListSink, ListSource, scene

EXAMPLES = Path(__file__).resolve().parents[2] / "example_clips"
SIDE = 224
ENDLESS = 1e9


def example_frames(clip: str, first: int, count: int = 1) -> list[Image]:
    capture = cv2.VideoCapture(str(EXAMPLES / clip))
    for _ in range(first):
        assert capture.grab()
    images = [np.asarray(capture.read()[1], np.uint8) for _ in range(count)]
    capture.release()
    return images


def noisy(image: npt.NDArray[np.generic], sigma: float, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def passed(gate: Gate, images: list[Image], fps: float = 25.0) -> list[int]:
    """Which of the images are classified."""
    return [i for i, image in enumerate(images) if gate.passes(resize(image, SIDE, SIDE), i / fps)]


def flat(level: int) -> Image:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, BLOCKS - 1),
    st.integers(0, BLOCKS - 1),
    st.integers(OPENS_AT + 1, 100),
)
def test_a_cut_opens_it(seed: int, row: int, column: int, step: int) -> None:
    """A change of more than the threshold passes at once, however small a part of the picture it is."""
    before = np.random.default_rng(seed).integers(0, 156, (SIDE, SIDE, 3), np.uint8)
    after = before.copy()
    size = SIDE // BLOCKS
    after[row * size : (row + 1) * size, column * size : (column + 1) * size] += np.uint8(step)
    gate = Gate(seconds=ENDLESS)
    assert gate.passes(before, 0.0)
    assert not gate.passes(before, 0.04)
    assert gate.passes(after, 0.08)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=300))
def test_slow_change_adds_up(steps: list[float]) -> None:
    """However slowly it changes, no frame takes over what was said of one that it differs from."""
    gate = Gate(seconds=ENDLESS)
    level, reference = 128.0, -1000
    for i, step in enumerate(steps):
        level = min(255.0, max(0.0, level + step))
        if gate.passes(flat(int(level)), i / 25):
            reference = int(level)
        assert abs(int(level) - reference) < OPENS_AT


def test_a_fade_cannot_hide() -> None:
    """A fade over a minute from one place to another is followed all the way, even without a time limit."""
    one, other = example_frames("badminton.mp4", 20)[0], example_frames("badminton.mp4", 100)[0]
    images = [cv2.addWeighted(one, 1 - i / 300, other, i / 300, 0) for i in range(301)]
    times = passed(Gate(seconds=ENDLESS), [np.asarray(image, np.uint8) for image in images], fps=5)
    assert len(times) > 10
    assert max(later - earlier for earlier, later in pairwise(times)) < 30


@pytest.mark.parametrize("clip", ["badminton.mp4", "volleyball.mp4", "formula1.mp4"])
@pytest.mark.parametrize("sigma", [0, 5, 15])
def test_noise_does_not_open_it(clip: str, sigma: float) -> None:
    """A still scene is classified once, up to the noise of a cheap camera at night."""
    still = example_frames(clip, 60)[0]
    assert passed(Gate(seconds=ENDLESS), [noisy(still, sigma, i) for i in range(15)]) == [0]


@pytest.mark.parametrize(("share", "contrast"), [(0.02, 15), (0.002, 25)])
def test_a_small_thing_that_moves_opens_it(share: float, contrast: int) -> None:
    """A player far away, a fiftieth or a five-hundredth of the picture, passes within a second of moving."""
    still = example_frames("badminton.mp4", 20)[0]
    height, width = still.shape[:2]
    side = round((share * height * width) ** 0.5)
    images = []
    for i in range(26):
        image = still.astype(np.int16)
        if i:
            x = (width - side) * i // 26
            image[height // 2 : height // 2 + side, x : x + side] += contrast
        images.append(noisy(image, 3, i))
    assert len(passed(Gate(seconds=ENDLESS), images)) > 10


def test_a_classification_holds_for_so_long_only() -> None:
    """Even of an endless still scene a frame is classified now and then, by time and by weight."""
    stills = [flat(100)] * 101
    assert passed(Gate(), stills) == [0, 50, 100]
    assert LONGEST == 2.0
    by_frames = passed(Gate.for_window(32, None), stills)
    assert by_frames == list(range(0, 101, 8))
    assert WEIGHT == 0.25
    assert passed(Gate.for_window(32, 1.0), stills) == [i for i in range(101) if i % 7 == 0]
    assert passed(Gate.for_window(7, None), stills[:9]) == list(range(9))


def test_a_long_window_lets_no_classification_stand_for_longer() -> None:
    """A quarter of a minute would be too much to miss, however little weight it had."""
    assert passed(Gate.for_window(32, 60.0), [flat(100)] * 101) == [0, 50, 100]


def test_after_a_reset_a_scene_is_seen_in_all_views() -> None:
    """As what is new is, also where the reset came between the views of the scene before."""
    gate = Gate(seconds=ENDLESS, views=3)
    assert gate.passes(flat(100), 0.0)
    gate.reset()
    assert [gate.passes(flat(100), pts) for pts in (0.1, 0.2, 0.3, 0.4)] == [True, True, True, False]


def test_time_that_runs_backwards_is_a_new_beginning() -> None:
    """A clock that was set back must not shut the gate for hours."""
    gate = Gate()
    assert gate.passes(flat(100), 3600.0)
    assert gate.passes(flat(100), 0.0)
    assert not gate.passes(flat(100), 0.1)
    gate.reset()
    assert gate.passes(flat(100), 0.2)


SCENES = (["background"] * 60 + ["red"] * 80 + ["background"] * 60 + ["blue"] * 80) * 2


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 8, 500])
def test_static_scenes_cost_a_fifth_and_give_the_same_events(batch_size: int, views: int) -> None:
    """Acceptance: of scenes that stand still at most a fifth is classified, and no event changes."""
    plain_sink, gated_sink, model, plain_model = (
        ListSink(),
        ListSink(),
        ColourClassifier(),
        ColourClassifier(),
    )
    model.views = plain_model.views = views
    options = RunSettings(batch_size=batch_size)
    plain = run(ListSource(SCENES), "clip", plain_model, options, [plain_sink])
    gated = run(ListSource(SCENES), "clip", model, replace(options, gate=True), [gated_sink])
    assert plain.events == gated.events
    assert [event.label for event in gated.events] == ["red", "blue"] * 2
    assert (plain.classified, plain.reused) == (len(SCENES), 0)
    assert gated.classified + gated.reused == len(SCENES)
    assert sum(model.batches) == gated.classified <= len(SCENES) / 5
    for one, other in zip(plain_sink.steps, gated_sink.steps, strict=True):
        assert one.frame.index == other.frame.index
        assert one.smoothed is not None
        assert other.smoothed is not None
        assert one.smoothed.index == other.smoothed.index
        assert np.allclose(one.smoothed.probabilities, other.smoothed.probabilities)
        assert other.messages == one.messages
    assert sum(step.reused for step in gated_sink.steps) == gated.reused


def test_with_every_nth_frame() -> None:
    """Frames that are not wanted are neither classified nor take anything over."""
    sink = ListSink()
    result = run(ListSource(SCENES), "clip", ColourClassifier(), RunSettings(every=3, gate=True), [sink])
    assert result.classified + result.reused == -(-len(SCENES) // 3)
    assert result.reused > result.classified
    assert all(step.smoothed and step.smoothed.index == step.frame.index // 3 * 3 for step in sink.steps)


class LiveList(ListSource):
    """The same as a live source, which never runs ahead of the one who takes its frames."""

    def __init__(self, scenes: list[str]) -> None:
        super().__init__(scenes)
        self.properties = SourceProperties(64, 48, 10.0, None, is_live=True)
        self.taken = threading.Semaphore(1)

    def read(self) -> Frame | None:
        assert self.taken.acquire(timeout=30)
        return super().read()


def gated_by_default(source: ListSource) -> RunResult:
    class Taking(ColourClassifier):
        def model_input(self, image: Image, view: int = 0) -> Image:
            if isinstance(source, LiveList):
                source.taken.release()
            return super().model_input(image, view)

    return run(source, "clip", Taking(), RunSettings())


def test_on_for_live_sources_and_off_for_files() -> None:
    """Unless told otherwise, a file is worked on frame by frame, a camera only where something changes."""
    assert gated_by_default(ListSource(SCENES)).reused == 0
    live = gated_by_default(LiveList(SCENES))
    assert live.reused > 4 * live.classified
    assert RunSettings(gate=False).open_gate(is_live=True) is None
    assert RunSettings(gate=True).open_gate(is_live=False) is not None


class Opener:
    """Opens ``ColourClassifier``; the next ``failures`` calls of it lose the inference process."""

    def __init__(self) -> None:
        self.failures = 0
        self.classified: list[int] = []

    def __call__(self, while_waiting: object) -> contextlib.AbstractContextManager[ColourClassifier]:
        opener = self

        class Failing(ColourClassifier):
            def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
                if opener.failures:
                    opener.failures -= 1
                    raise InferenceLostError("gone")
                opener.classified.append(len(inputs))
                return super().classify(inputs)

        return contextlib.nullcontext(Failing())


@contextlib.contextmanager
def recogniser_of(opener: Opener) -> Iterator[Recogniser]:
    """A recogniser with a gate, whose thread is gone afterwards."""
    recogniser = Recogniser(opener, Gate())
    try:
        yield recogniser
    finally:
        recogniser.close()
        for thread in threading.enumerate():
            if thread.name == "recogniser":
                thread.join(30)


def result_of(recogniser: Recogniser, index: int, colour: str, era: int = 0) -> Result | None:
    """Hand in a frame and wait for what becomes of it; None if inference was lost over it."""
    deadline = time.monotonic() + 30
    while not recogniser.is_idle:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    recogniser.submit(Frame("x", index, index / 10, 0.0, scene(colour)), era)
    while not recogniser.is_away(time.monotonic()):
        assert time.monotonic() < deadline
        if result := recogniser.take():
            return result
        time.sleep(0.001)
    return None


def test_a_recogniser_says_of_like_frames_what_it_said_before() -> None:
    """A result taken over belongs to its own frame; a change, and a new stretch of sight, are classified."""
    opener = Opener()
    with recogniser_of(opener) as recogniser:
        first, second = result_of(recogniser, 0, "red"), result_of(recogniser, 1, "red")
        assert first
        assert second
        assert first.seconds is not None
        assert (second.index, second.pts, second.seconds) == (1, 0.1, None)
        assert np.array_equal(first.probabilities, second.probabilities)
        changed = result_of(recogniser, 2, "blue")
        assert changed
        assert changed.seconds is not None
        assert list(COLOURS)[int(changed.probabilities.argmax())] == "blue"
        afresh = result_of(recogniser, 3, "blue", era=1)
        assert afresh
        assert afresh.seconds is not None
        assert opener.classified == [1, 1, 1]


def test_nothing_is_taken_over_from_a_frame_that_was_never_classified() -> None:
    """When inference is lost over a frame, the ones like it do not get what was said of an older scene."""
    opener = Opener()
    with recogniser_of(opener) as recogniser:
        assert result_of(recogniser, 0, "red")
        opener.failures = 1
        assert result_of(recogniser, 1, "blue") is None
        after = result_of(recogniser, 2, "blue")
        assert after
        assert after.seconds is not None
        assert list(COLOURS)[int(after.probabilities.argmax())] == "blue"


@pytest.mark.parametrize("views", [2, 3])
def test_a_scene_that_passes_is_seen_in_all_views(views: int) -> None:
    """After what is new the next frames pass too; what is held back rests on each view by its share."""
    stills = [scene("red")] * 100
    times = passed(Gate(seconds=ENDLESS, frames=8 * views - views, views=views), stills)
    assert times == [i for i in range(100) if i % (8 * views) < views]
    assert passed(Gate.for_window(8, None, views), stills) == [
        i for i in range(100) if i % (2 * views) < views
    ]
    by_time = passed(Gate.for_window(8, 1.0, views), stills)
    held = math.ceil(25 * WEIGHT * views)
    assert by_time == [i for i in range(100) if i % (held + views - 1) < views]
    changed = passed(Gate(seconds=ENDLESS, views=views), stills[:10] + [scene("blue")] * 10)
    assert changed == [*range(views), *range(10, 10 + views)]


def test_a_live_stream_is_seen_in_each_view_in_turn() -> None:
    """Only frames that are classified take a turn, and they are compared in one view."""
    seen: list[int] = []

    class TwoViews(ColourClassifier):
        views = 2

        def model_input(self, image: Image, view: int = 0) -> Image:
            return np.full_like(super().model_input(image), 255 * view)

        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            seen.append(int(inputs[0, 0, 0, 0]) // 255)
            return super().classify(inputs)

    recogniser = Recogniser(lambda _: contextlib.nullcontext(TwoViews()), Gate())
    try:
        for index, era in enumerate((0, 0, 1, 1, 2, 3)):
            assert result_of(recogniser, index, "red", era)
    finally:
        recogniser.close()
    assert seen == [0, 1, 0, 1]
