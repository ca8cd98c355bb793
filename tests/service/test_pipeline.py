from __future__ import annotations

import gc
import threading
import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching import BATCHES_AT_ONCE, Batch, Batcher
from service.config import RunSettings
from service.engines.restricted import RestrictedClassifier
from service.errors import ConfigurationError, NoFramesError, SinkError, SourceTimeoutError
from service.pipeline import plan, run
from service.sinks import Step
from service.types import (
    EndReason,
    EventMessage,
    EventPhase,
    Frame,
    Image,
    Judgement,
    SourceProperties,
    judged,
)
from tests.service.fakes import ColourClassifier, ListSink, ListSource, SideBySideColours, scene

SCENES = ["background"] * 20 + ["red"] * 40 + ["background"] * 40 + ["blue"] * 40
QUICK = RunSettings(window=4)


@pytest.fixture(autouse=True)
def no_thread_left() -> Any:
    """Whatever happens in a run, its threads end with it."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_events_of_a_clip() -> None:
    """The chain from frames to events finds what is there, dated to the frame."""
    sink = ListSink()
    result = run(ListSource(SCENES), "clip", ColourClassifier(), QUICK, [sink])
    assert [(e.label, round(e.start_pts, 3), round(e.end_pts or 0, 3)) for e in result.events] == [
        ("red", 2.0, 6.0),
        ("blue", 10.0, 14.0),
    ]
    assert [e.end_reason for e in result.events] == [EndReason.EXIT, EndReason.END_OF_STREAM]
    assert (result.frames, result.duration, result.interrupted, result.ended_early) == (
        140,
        14.0,
        False,
        None,
    )
    assert [step.frame.index for step in sink.steps] == list(range(140))
    messages = [m for step in sink.steps for m in step.messages] + list(sink.last or ())
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
    assert messages[-1].phase is EventPhase.ENDED


@pytest.mark.parametrize("batch_size", [1, 3, 8, 500])
def test_batch_size_changes_nothing(batch_size: int) -> None:
    """How frames are grouped for the network has no say in the events."""
    plain = run(ListSource(SCENES), "clip", ColourClassifier(), QUICK)
    grouped = run(
        ListSource(SCENES), "clip", ColourClassifier(), RunSettings(window=4, batch_size=batch_size)
    )
    assert plain == grouped


def test_window_of_one_is_the_raw_answer() -> None:
    """Without smoothing every frame carries exactly what the model said of it."""
    sink, model = ListSink(), ColourClassifier()
    run(ListSource(SCENES), "clip", model, RunSettings(window=1), [sink])
    for step in sink.steps:
        assert step.smoothed is not None
        raw = model.classify(model.model_input(scene(SCENES[step.frame.index]))[None])[0]
        assert step.smoothed.label == model.labels[int(raw.argmax())]
        assert np.array_equal(step.smoothed.probabilities, raw)


def test_every_nth_frame() -> None:
    """With --every the frames between are kept and carry the latest label; the network sees fewer."""
    sink, model = ListSink(), ColourClassifier()
    result = run(ListSource(SCENES), "clip", model, RunSettings(window=2, every=5), [sink])
    assert sum(model.batches) == 28
    assert len(sink.steps) == result.frames == 140
    assert all(s.smoothed and s.smoothed.index == s.frame.index // 5 * 5 for s in sink.steps)
    assert [e.label for e in result.events] == ["red", "blue"]


class TwoViews(ColourClassifier):
    """Sees a frame as it is, then the next one mirrored; ``views_seen`` notes which."""

    views = 2

    def __init__(self) -> None:
        super().__init__()
        self.views_seen: list[int] = []

    def model_input(self, image: Image, view: int = 0) -> Image:
        self.views_seen.append(view)
        return super().model_input(image, view)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_classified_frames_are_seen_in_each_view_in_turn(every: int) -> None:
    """The average of a window is over the views too, however many frames lie between."""
    model = TwoViews()
    result = run(ListSource(SCENES), "clip", model, RunSettings(window=4, every=every))
    assert model.views_seen == [n % 2 for n in range(result.classified)]
    assert [event.label for event in result.events] == ["red", "blue"]


def test_frames_are_compared_in_one_view_and_classified_in_turn() -> None:
    """A mirrored frame does not look like the one before, were it compared: a still scene stays gated."""
    model = TwoViews()
    result = run(ListSource(SCENES), "clip", model, RunSettings(gate=True))
    assert result.reused >= 4 * result.classified
    assert model.views_seen.count(1) == result.classified // 2
    assert model.views_seen.count(0) == result.frames


class DrawingSink(ListSink):
    """Spoils every frame that it gets, as one that draws."""

    def write(self, step: Step) -> None:
        super().write(step)
        step.frame.image[:] = scene("blue")


def test_what_a_sink_draws_is_not_classified() -> None:
    """The model has seen the clean frame before any sink may draw on it."""
    sink = DrawingSink()
    run(ListSource(["red"] * 50), "clip", ColourClassifier(), QUICK, [sink])
    assert len(sink.steps) == 50
    assert all(step.smoothed and step.smoothed.label == "red" for step in sink.steps)


def test_next_batch_is_prepared_meanwhile() -> None:
    """While the network works on a batch the next one is made: it never waits for decoding or resizing."""

    class Waiting(ColourClassifier):
        def __init__(self) -> None:
            super().__init__()
            self.resized = 0
            self.grown = threading.Condition()
            self.went_on = True

        def model_input(self, image: Image, view: int = 0) -> Image:
            with self.grown:
                self.resized += 1
                self.grown.notify_all()
            return super().model_input(image, view)

        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            if not self.batches:
                with self.grown:
                    self.went_on = self.grown.wait_for(lambda: self.resized >= 16, 20)
            return super().classify(inputs)

    model = Waiting()
    run(ListSource(["red"] * 40), "clip", model, QUICK)
    assert model.went_on
    assert model.batches == [8] * 5


def test_a_failing_sink_costs_no_event() -> None:
    """A full disk ends the run with its reason; what was seen counts, and other sinks get all of it."""
    bad, good = ListSink(fail_at=30), ListSink()
    result = run(ListSource(["red"] * 500), "clip", ColourClassifier(), QUICK, [bad, good])
    assert result.ended_early == "no room; the events are those of the first 31 frames"
    assert (result.frames, len(good.steps), len(bad.steps)) == (31, 31, 30)
    assert [(e.label, e.end_reason) for e in result.events] == [("red", EndReason.END_OF_STREAM)]
    told = [message for step in good.steps for message in step.messages] + list(good.last or ())
    assert [told[0].phase, told[-1].phase] == [EventPhase.STARTED, EventPhase.ENDED]
    assert bad.last is not None
    assert not good.aborted
    assert not bad.aborted


def test_a_sink_that_cannot_be_closed_costs_no_event() -> None:
    """The events are all there; that an output is not is told, after Ctrl-C too."""

    class Unclosable(ListSink):
        def close(self, last: tuple[EventMessage, ...]) -> None:
            raise SinkError("too slow")

    stop, good = threading.Event(), ListSink()
    result = run(ListSource(SCENES), "clip", ColourClassifier(), QUICK, [Unclosable(), good], stop=stop)
    assert (result.ended_early, result.frames, len(result.events)) == ("too slow", 140, 2)
    assert good.last is not None
    stop.set()
    result = run(ListSource(SCENES), "clip", ColourClassifier(), QUICK, [Unclosable()], stop=stop)
    assert (result.ended_early, result.interrupted) == ("too slow", True)


def test_failing_model_stops_all() -> None:
    """An error in inference reaches the caller as it is."""

    class Broken(ColourClassifier):
        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            raise ZeroDivisionError

    sink = ListSink()
    with pytest.raises(ZeroDivisionError):
        run(ListSource(SCENES), "clip", Broken(), QUICK, [sink])
    assert sink.aborted


def test_source_that_fails_on_the_way_keeps_what_it_gave() -> None:
    """A connection lost in the middle does not cost the events seen until then."""
    sink = ListSink()
    source = ListSource(["red"] * 30, failure=SourceTimeoutError("no answer"))
    result = run(source, "clip", ColourClassifier(), QUICK, [sink])
    assert result.ended_early == "no answer"
    assert (result.frames, len(sink.steps)) == (30, 30)
    assert [(e.label, e.end_reason) for e in result.events] == [("red", EndReason.END_OF_STREAM)]


def test_source_without_frames() -> None:
    """A source that never gave a frame is an error and leaves no output."""
    sink = ListSink()
    with pytest.raises(NoFramesError):
        run(ListSource([]), "clip", ColourClassifier(), QUICK, [sink])
    with pytest.raises(SourceTimeoutError):
        run(
            ListSource([], failure=SourceTimeoutError("no answer")), "clip", ColourClassifier(), QUICK, [sink]
        )
    assert sink.aborted


def test_source_that_ends_early_is_told() -> None:
    """A damaged file gives its events and says that it is damaged."""
    result = run(ListSource(SCENES, ending="only 3 of 9"), "clip", ColourClassifier(), QUICK)
    assert result.ended_early == "only 3 of 9"


def test_batches_side_by_side_are_followed_in_order() -> None:
    """A network for several threads has two batches at a time, whichever ends first; nothing else changes."""
    plain, quick = ListSink(), ListSink()
    model = SideBySideColours()
    expected = run(ListSource(SCENES), "clip", ColourClassifier(), QUICK, [plain])
    assert run(ListSource(SCENES), "clip", model, QUICK, [quick]) == expected
    for one, other in zip(quick.steps, plain.steps, strict=True):
        assert one.smoothed is not None
        assert other.smoothed is not None
        assert one.frame.index == other.frame.index
        assert np.array_equal(one.smoothed.probabilities, other.smoothed.probabilities)
    assert model.most_at_once == BATCHES_AT_ONCE
    restricted = RestrictedClassifier(model := SideBySideColours(), ["red", "blue"])
    assert len(run(ListSource(SCENES), "clip", restricted, QUICK).events) == 2
    assert model.most_at_once == BATCHES_AT_ONCE


def test_labels_are_those_of_the_answer_not_of_the_moment() -> None:
    """By the time an answer is read a model may have judged another thread's inputs by other labels."""

    class Ahead(SideBySideColours):
        @property
        def labels(self) -> tuple[str, ...]:
            return ("yellow", *super().labels)

        def judge(self, inputs: npt.NDArray[np.uint8]) -> Judgement:
            return judged(ColourClassifier(), inputs)

    expected = run(ListSource(SCENES), "clip", ColourClassifier(), QUICK).events
    assert run(ListSource(SCENES), "clip", Ahead(), QUICK).events == expected
    few = RestrictedClassifier(Ahead(), ["red", "blue"])
    assert [event.label for event in run(ListSource(SCENES), "clip", few, QUICK).events] == ["red", "blue"]


def test_no_batch_is_kept_after_its_turn() -> None:
    """Of those that were made two are in the network, one waits, and one has no room to wait yet."""
    gc.collect()  # those of other runs, which failed
    alive: list[int] = []

    class Counting(SideBySideColours):
        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            result = super().classify(inputs)
            alive.append(sum(isinstance(one, Batch) for one in gc.get_objects()))
            return result

    run(ListSource(["red"] * 200), "clip", Counting(), QUICK)
    assert median(alive) <= BATCHES_AT_ONCE + 2  # for an instant one that is handed on counts too


def test_a_live_source_has_one_frame_at_a_time_in_any_network() -> None:
    """What is asked ahead would be old by the time of its turn."""
    source, model = ListSource(["red"] * 50), SideBySideColours()
    source.properties = SourceProperties(64, 48, 10.0, None, is_live=True)
    run(source, "clip", model, QUICK)
    assert model.most_at_once == 1


@pytest.mark.parametrize("frames", [30, 32])
def test_what_was_asked_before_the_source_failed_counts(frames: int) -> None:
    """Also where several batches were in the network by then."""
    source = ListSource(["red"] * frames, failure=SourceTimeoutError("no answer"))
    result = run(source, "clip", SideBySideColours(), QUICK)
    assert (result.ended_early, result.frames, len(result.events)) == ("no answer", frames, 1)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_network_side_by_side_that_stops(error: type[BaseException]) -> None:
    """An error is raised as it is, an interruption keeps the batches before it; no thread is left."""

    class Stopping(SideBySideColours):
        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            if len(self.batches) > 5:
                raise error
            return super().classify(inputs)

    sink = ListSink()
    if error is ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            run(ListSource(["red"] * 500), "clip", Stopping(), QUICK, [sink])
        assert sink.aborted
        return
    result = run(ListSource(["red"] * 500), "clip", Stopping(), QUICK, [sink])
    assert result.interrupted
    assert result.frames == len(sink.steps) >= 32
    assert len(result.events) == 1


def test_no_batch_is_asked_after_a_stop() -> None:
    """Those in the network by then are followed to their end."""
    stop = threading.Event()

    class Stopping(SideBySideColours):
        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            if len(self.batches) == 5:
                stop.set()
            return super().classify(inputs)

    model = Stopping()
    result = run(ListSource(["red"] * 500), "clip", model, QUICK, stop=stop)
    assert result.interrupted
    assert result.frames == sum(model.batches) <= 8 * (6 + BATCHES_AT_ONCE)


@pytest.mark.parametrize("how", ["stop", "keyboard"])
def test_interruption_finishes_outputs(how: str) -> None:
    """Ctrl-C in the middle keeps what has been classified and closes the open event."""
    stop = threading.Event()

    class Interrupting(ColourClassifier):
        def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            if len(self.batches) == 5:
                if how == "keyboard":
                    raise KeyboardInterrupt
                stop.set()
            return super().classify(inputs)

    sink = ListSink()
    result = run(ListSource(["red"] * 500), "clip", Interrupting(), QUICK, [sink], stop=stop)
    assert result.interrupted
    assert result.frames == len(sink.steps) == (40 if how == "keyboard" else 48)
    assert sink.last is not None
    assert not sink.aborted
    assert [(e.end_pts, e.end_reason) for e in result.events] == [
        (pytest.approx(result.frames / 10), EndReason.END_OF_STREAM)
    ]


def test_live_source_is_not_held_back() -> None:
    """Of a live source single frames go through, since waiting for a batch would be delay."""
    source, model = ListSource(["red"] * 50), ColourClassifier()
    source.properties = SourceProperties(64, 48, 10.0, None, is_live=True)
    result = run(source, "clip", model, QUICK)
    assert set(model.batches) == {1}
    assert 1 <= result.frames <= 50


@given(
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    every=st.integers(1, 1000),
    batch_size=st.integers(1, 256),
)
def test_memory_is_bounded(width: int, height: int, every: int, batch_size: int) -> None:
    """Frames in flight stay below a fixed number of bytes, whatever the source and the settings."""
    properties = SourceProperties(width, height, 25.0, None, is_live=False)
    flow = plan(properties, RunSettings(every=every, batch_size=batch_size))
    image = width * height * 3
    assert 1 <= flow.batch_size <= batch_size
    in_flight = (flow.read_ahead + flow.sink_depth) * image + 4 * max(flow.batch_bytes, image)
    assert in_flight <= max(480 << 20, 7 * image)


@settings(max_examples=50)
@given(wanted=st.lists(st.booleans(), max_size=60), size=st.integers(1, 9), max_frames=st.integers(1, 20))
def test_batches_keep_every_frame_in_order(wanted: list[bool], size: int, max_frames: int) -> None:
    """Grouping loses nothing, keeps the order, and never holds more than it may."""
    batcher = Batcher(size, max_frames * scene("red").nbytes)
    batches = []
    for index, want in enumerate(wanted):
        frame = Frame("x", index, 0.0, 0.0, scene("red"))
        batches.append(batcher.add(frame, np.full((2, 2, 3), index, np.uint8) if want else None))
    batches.append(batcher.flush())
    full = [batch for batch in batches if batch]
    assert [f.index for batch in full for f in batch.frames] == list(range(len(wanted)))
    seen = []
    for batch in full:
        assert len(batch.frames) <= max_frames
        assert len(batch.positions) == (0 if batch.inputs is None else len(batch.inputs)) <= size
        if batch.inputs is not None:
            assert [batch.frames[p].index for p in batch.positions] == batch.inputs[:, 0, 0, 0].tolist()
            seen += batch.inputs[:, 0, 0, 0].tolist()
    assert seen == [index for index, want in enumerate(wanted) if want]


def test_bytes_are_counted_for_each_batch() -> None:
    """A batch that was full of large frames leaves the next ones as much room as it had."""
    batcher = Batcher(8, 3 * scene("red").nbytes)
    frames = [Frame("x", index, 0.0, 0.0, scene("red")) for index in range(7)]
    batches = [batcher.add(frame, np.zeros((2, 2, 3), np.uint8)) for frame in frames]
    assert [len(batch.frames) if batch else 0 for batch in batches] == [0, 0, 3, 0, 0, 3, 0]


def test_a_clip_lasts_to_its_latest_frame() -> None:
    """A last frame whose time steps back takes nothing from the duration, nor from an open event."""

    class SteppingBack(ListSource):
        def read(self) -> Frame | None:
            frame = super().read()
            return replace(frame, pts=0.5) if frame and frame.index == 29 else frame

    result = run(SteppingBack(["red"] * 30), "clip", ColourClassifier(), QUICK)
    assert result.duration == pytest.approx(2.9)
    assert [event.end_pts for event in result.events] == [result.duration]


class Ticking(ListSource):
    """A camera of 200 frames per second, whoever takes them."""

    def __init__(self, scenes: list[str]) -> None:
        super().__init__(scenes)
        self.properties = SourceProperties(64, 48, 200.0, None, is_live=True)

    def read(self) -> Frame | None:
        time.sleep(0.005)
        frame = super().read()
        return frame and replace(frame, captured_at=time.monotonic())


class Slow(ColourClassifier):
    """Takes 50 ms for a frame."""

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        time.sleep(0.05)
        return super().classify(inputs)


class Ages(ListSink):
    """Notes how old frames are when they arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.ages: list[float] = []

    def write(self, step: Step) -> None:
        super().write(step)
        self.ages.append(time.monotonic() - step.frame.captured_at)


def test_a_slow_network_gets_the_newest_frame_of_a_live_source() -> None:
    """Ten frames come in the time that the network takes for one: it skips nine, and none grows old."""
    sink = Ages()
    run(Ticking(["red"] * 400), "cam", Slow(), RunSettings(window=4, gate=False), [sink])
    assert 5 <= len(sink.steps) < 200
    assert sink.steps[-1].frame.index > 300
    assert max(sink.ages) < 1.0  # in a queue the last would be seconds old


def test_restricted_to_labels() -> None:
    """Fewer labels share the probability among themselves and background, in the model's order."""
    model = RestrictedClassifier(ColourClassifier(), ["blue", "red"])
    assert model.labels == ("red", "blue", "background")
    inputs = np.stack([model.model_input(scene(name)) for name in ("red", "green", "blue")])
    probabilities = model.classify(inputs)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert [model.labels[i] for i in probabilities[[0, 2]].argmax(axis=1)] == ["red", "blue"]


def test_a_model_that_has_lost_every_label_looked_for_says_so() -> None:
    """What is no longer looked for must not pass for background; while one is left, that one is."""

    class Forgetful(ColourClassifier):
        labels = ("red", "green", "blue", "background")

    colours = Forgetful()
    model = RestrictedClassifier(colours, ["blue", "red"])
    inputs = model.model_input(scene("red"))[np.newaxis]
    colours.labels = ("green", "blue", "background")  # type: ignore[assignment]
    assert model.classify(inputs).shape == (1, 2)
    colours.labels = ("green", "yellow", "background")  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="does not know blue, red any more"):
        model.classify(inputs)


def test_unknown_label_is_told_with_the_nearest() -> None:
    """A slip in a label's name is answered with the name that was meant, and with all there are."""
    with pytest.raises(ConfigurationError, match=r"'gren'.*'green'.*blue, green, red"):
        RestrictedClassifier(ColourClassifier(), ["red", "gren"])
    with pytest.raises(ConfigurationError, match="unknown label 'xyz'; the model has: blue"):
        RestrictedClassifier(ColourClassifier(), ["xyz"])
    for nothing, reason in (([], "no label given"), (["background"], "background is no label to choose")):
        with pytest.raises(ConfigurationError, match=reason):
            RestrictedClassifier(ColourClassifier(), nothing)


@pytest.mark.parametrize(
    "wrong",
    [{"every": 0}, {"batch_size": 0}, {"window": 0}, {"window_seconds": 0.0}, {"enter": 1.5}, {"exit": 0.9}],
)
def test_settings_that_cannot_work(wrong: dict[str, Any]) -> None:
    """A bad value is told before any work begins."""
    with pytest.raises(ConfigurationError):
        RunSettings(**wrong).check()
