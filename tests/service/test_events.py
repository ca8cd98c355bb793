"""Event detector: rules by example, and the rules as a whole against a slow reimplementation."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config import RunSettings
from service.errors import ConfigurationError
from service.events import EventDetector, EventSettings
from service.smoothing import RollingAverage
from service.types import EndReason, Event, EventMessage, EventPhase, Prediction, SmoothedPrediction
from tests.service.slow_events import slow_events

LABELS = ("background", "a", "b")
FPS = 30.0
DEFAULTS = RunSettings().event_settings()


def one_hot(names: str) -> list[Prediction]:
    """One prediction per letter at 30 fps: ``.`` is background."""
    rows = np.eye(3, dtype=np.float32)[[".ab".index(name) for name in names]]
    return [Prediction(i, i / FPS, row) for i, row in enumerate(rows)]


def smooth(predictions: list[Prediction], window: int) -> list[SmoothedPrediction]:
    average = RollingAverage(LABELS, window)
    return [average.update(prediction) for prediction in predictions]


def detect(
    frames: list[SmoothedPrediction], settings: EventSettings = DEFAULTS, close_pts: float | None = None
) -> list[EventMessage]:
    detector = EventDetector("cam", LABELS, settings)
    messages = [message for frame in frames for message in detector.update(frame)]
    end = frames[-1].pts + 1 / FPS if close_pts is None else close_pts
    return messages + detector.close(EndReason.END_OF_STREAM, end)


def ended(messages: list[EventMessage]) -> list[Event]:
    return [message.event for message in messages if message.phase is EventPhase.ENDED]


def spans(events: list[Event]) -> list[tuple[str, int, int]]:
    return [(e.label, round(e.start_pts * FPS), round(e.end_pts * FPS)) for e in events]


def test_clean_step_is_dated_to_its_frames() -> None:
    """Smoothing over 32 frames moves neither the start nor the end of a clean run by a frame."""
    (event,) = ended(detect(smooth(one_hot("." * 60 + "a" * 90 + "." * 60), 32)))
    assert spans([event]) == [("a", 60, 150)]
    assert event.end_reason is EndReason.EXIT
    assert event.id == "cam-000001"
    assert 0.5 < event.detect_delay < 1.5
    assert event.peak_confidence == 1.0


def test_flickers_neither_break_nor_move_an_event() -> None:
    """Single wrong frames, at the very start too, leave one event with its true times."""
    run = list("a" * 90)
    for wrong in (2, 9, 30, 31, 60, 86):
        run[wrong] = "b"
    assert spans(ended(detect(smooth(one_hot("." * 40 + "".join(run) + "." * 60), 32)))) == [("a", 40, 130)]


def test_label_change_leaves_neither_gap_nor_overlap() -> None:
    """A hard cut from one label to another is one instant, and says so."""
    first, second = ended(detect(smooth(one_hot("a" * 90 + "b" * 90), 32)))
    assert spans([first, second]) == [("a", 0, 90), ("b", 90, 180)]
    assert first.end_reason is EndReason.LABEL_CHANGE
    assert second.end_reason is EndReason.END_OF_STREAM


def test_label_that_enters_before_the_other_exits_ends_it() -> None:
    """A low exit threshold cannot keep an event open beside another."""
    settings = replace(DEFAULTS, enter=0.5, exit=0.05, min_duration=0.0)
    first, second = ended(detect(smooth(one_hot("a" * 60 + "b" * 60), 32), settings))
    assert spans([first, second]) == [("a", 0, 60), ("b", 60, 120)]


def rows(*runs: tuple[int, float, float]) -> list[Prediction]:
    """Predictions at 30 fps: runs of so many, with the probabilities of a and b; background has the rest."""
    given = [(1 - a - b, a, b) for count, a, b in runs for _ in range(count)]
    return [Prediction(i, i / FPS, np.array(row, np.float32)) for i, row in enumerate(given)]


def test_thresholds_themselves_enter_and_stay() -> None:
    """A label enters at ``enter``, not only above it, and exits below ``exit``, not at it."""
    settings = replace(DEFAULTS, enter=0.75, exit=0.5, merge_gap=0.0)
    frames = smooth(rows((30, 0.75, 0), (30, 0.5, 0), (30, 0.25, 0)), 1)
    (event,) = ended(detect(frames, settings))
    assert spans([event]) == [("a", 0, 60)]


@pytest.mark.parametrize("lead", [0, 6, 8, 31, 46])
def test_durations_of_so_many_frames_count_wherever_they_begin(lead: int) -> None:
    """15 frames at 30 fps are half a second and 30 are one, whatever the pts are rounded to."""
    detector = EventDetector("cam", LABELS, DEFAULTS)
    told = [
        (frame.index - lead, message.phase, message.event.id)
        for frame in smooth(one_hot("." * lead + "a" * 61 + "." * 30 + "a" * 30), 1)
        for message in detector.update(frame)
    ]
    first, second = "cam-000001", "cam-000002"  # a gap of merge_gap is none to be bridged
    assert told == [
        (15, EventPhase.STARTED, first),
        (45, EventPhase.UPDATED, first),
        (91, EventPhase.ENDED, first),
        (106, EventPhase.STARTED, second),
    ]


@pytest.mark.parametrize(("gap", "count"), [(24, 1), (29, 1), (31, 2), (45, 2)])
def test_short_gaps_are_one_event(gap: int, count: int) -> None:
    """A gap shorter than merge_gap (30 frames here) does not end an event; a longer one does."""
    messages = detect(smooth(one_hot("a" * 90 + "." * gap + "a" * 90), 8))
    assert len(ended(messages)) == count
    assert spans(ended(messages))[-1][2] == 180 + gap


@pytest.mark.parametrize(("window", "hover"), [(1, 27), (30, 75)])
def test_a_label_that_returns_in_time_is_waited_for(window: int, hover: int) -> None:
    """Until it may enter again: hovering below enter at first, and as late as smoothing is, it resumes."""
    runs = (60, 1.0, 0), (27, 0, 0), (hover, 0.55, 0), (60, 1.0, 0)
    assert spans(ended(detect(smooth(rows(*runs), window)))) == [("a", 0, 147 + hover)]


def test_what_comes_after_an_exit_is_not_dated_into_what_was_before() -> None:
    """A label that is out, hovers at its exit threshold and is in again has two events, each in its time."""
    settings = EventSettings(enter=0.7, exit=0.6, min_duration=0.0, merge_gap=0.0)
    hover = [(1, 0.1, 0), (1, 0.95, 0)] * 3  # smoothed 0.525 and more: out, but never at the bottom
    frames = smooth(rows((60, 1.0, 0), *hover, (30, 1.0, 0)), 2)
    assert spans(ended(detect(frames, settings))) == [("a", 0, 60), ("a", 61, 96)]


def test_a_label_that_never_entered_leaves_no_credit() -> None:
    """Probable for long but below ``exit``, then gone: when it comes at last, it has just come."""
    settings = replace(DEFAULTS, enter=0.8, exit=0.8)
    frames = smooth(rows((60, 0.7, 0), (30, 0.4, 0), (60, 0.9, 0)), 1)
    assert spans(ended(detect(frames, settings))) == [("a", 90, 150)]


def test_a_label_that_gave_way_is_dated_afresh() -> None:
    """It comes back after another and a pause; its long past must not have the pause count as its own."""
    settings = replace(DEFAULTS, exit=0.05, min_duration=0.0, merge_gap=0.0)
    frames = smooth(rows((30, 0.9, 0), (15, 0.15, 0.8), (10, 0.15, 0.0), (20, 0.9, 0)), 1)
    assert spans(ended(detect(frames, settings))) == [("a", 0, 30), ("b", 30, 45), ("a", 55, 75)]


def test_a_label_gives_way_where_the_other_began() -> None:
    """A weak return in the midst of a stronger label does not put off the beginning of that label."""
    settings = replace(DEFAULTS, exit=0.05, min_duration=0.2)
    frames = smooth(rows((30, 1.0, 0), (6, 0.0, 0.95), (8, 0.6, 0.4), (30, 0.1, 0.9)), 1)
    assert spans(ended(detect(frames, settings))) == [("a", 0, 30), ("b", 30, 74)]


def test_a_label_that_gives_way_keeps_its_own_time() -> None:
    """Also where the other had been probable since before it, without ever entering."""
    frames = smooth(rows((60, 0.0, 0.59), (20, 0.7, 0.3), (30, 0.1, 0.9)), 1)
    assert spans(ended(detect(frames, replace(DEFAULTS, exit=0.05)))) == [("a", 60, 80), ("b", 80, 110)]


def test_a_label_that_is_back_before_smoothing_shows_its_leave_is_dated_to_its_return() -> None:
    """The smoothed probability still falls when the label is there again: its first frames count."""
    frames = smooth(rows((60, 1.0, 0), (18, 0.0, 0), (12, 0.55, 0), (60, 1.0, 0)), 32)
    events = ended(detect(frames, replace(DEFAULTS, merge_gap=0.0)))
    assert spans(events) == [("a", 0, 60), ("a", 78, 150)]


def test_ended_is_told_within_the_documented_time() -> None:
    """A listener is not kept waiting for the end while the label hovers between exit and enter."""
    half = np.array([0.45, 0.55, 0.0], np.float32)
    predictions = [*one_hot("a" * 60 + "." * 20), *(Prediction(i, i / FPS, half) for i in range(80, 600))]
    detector = EventDetector("cam", LABELS, DEFAULTS)
    told = [m.event for frame in smooth(predictions, 16) for m in detector.update(frame)]
    assert told[-1].end_pts == pytest.approx(2.0)


def test_updates_come_at_most_once_per_interval() -> None:
    """A listener gets started, then an update per second, then ended, numbered without a hole."""
    messages = detect(smooth(one_hot("a" * 150), 4))
    assert [m.phase.value for m in messages] == [
        "started",
        "updated",
        "updated",
        "updated",
        "updated",
        "ended",
    ]
    assert [m.seq for m in messages] == [1, 2, 3, 4, 5, 6]
    assert [m.event.end_pts for m in messages[:-1]] == [None] * 5


def test_close_starts_afresh_and_goes_on_counting() -> None:
    """After a lost source nothing of the past remains, and neither id nor number is used twice."""
    detector = EventDetector("cam", LABELS, DEFAULTS)
    frames = smooth(one_hot("a" * 60), 4)
    before = [m for frame in frames[:30] for m in detector.update(frame)]
    before += detector.close(EndReason.SOURCE_LOST, frames[29].pts)
    after = [m for frame in frames[30:] for m in detector.update(frame)]
    assert [(m.seq, m.event.id, m.event.end_reason) for m in before + after] == [
        (1, "cam-000001", None),
        (2, "cam-000001", EndReason.SOURCE_LOST),
        (3, "cam-000002", None),
    ]
    assert after[0].event.start_pts == frames[30].pts
    assert after[0].event.detect_delay >= DEFAULTS.min_duration
    assert detector.close(EndReason.BLIND, 5.0)[0].event.end_reason is EndReason.BLIND
    assert detector.close(EndReason.BLIND, 6.0) == []


def test_close_while_the_label_is_leaving_ends_where_it_left() -> None:
    """A clip that ends just after the action does not stretch the action to the end of the clip."""
    (event,) = ended(detect(smooth(one_hot("a" * 60 + "." * 18), 32)))
    assert spans([event]) == [("a", 0, 60)]
    assert event.end_reason is EndReason.END_OF_STREAM


def test_background_is_never_an_event() -> None:
    """Certainty that nothing happens is not an event."""
    assert detect(smooth(one_hot("." * 90), 4)) == []


def test_a_moment_is_not_an_event() -> None:
    """A label that holds for less than min_duration is not announced."""
    assert detect(smooth(one_hot("." * 30 + "a" * 14 + "." * 30), 1)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"enter": 0.3},
        {"exit": 0.0},
        {"enter": 1.1},
        {"enter": float("nan")},
        {"min_duration": -1.0},
        {"merge_gap": float("inf")},
        {"update_interval": float("nan")},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    """A typing error in a threshold is told at the start, not by odd events."""
    with pytest.raises(ConfigurationError):
        replace(DEFAULTS, **wrong)


def test_bad_input_is_refused() -> None:
    """NaN from a broken model, or a wrong number of classes, cannot pass for 'no event'."""
    good, nan = np.array([0, 1, 0], np.float32), np.array([0, np.nan, 0], np.float32)
    detector = EventDetector("cam", LABELS, DEFAULTS)
    for raw, mean, pts in ((nan, good, 0.0), (good, nan, 0.0), (good[:2], good, 0.0), (good, good, np.nan)):
        with pytest.raises(ValueError, match=r"probabilities|pts"):
            detector.update(SmoothedPrediction(Prediction(0, pts, raw), mean, "a", 1.0))
    with pytest.raises(ValueError, match="pts"):
        detector.close(EndReason.EXIT, float("nan"))
    with pytest.raises(ConfigurationError):
        EventDetector("cam", ("a", "a"), DEFAULTS)


@st.composite
def streams(draw: st.DrawFn) -> list[Prediction]:
    """Runs of labels of any length with any confidence, noise, and pts that may repeat or step back."""
    predictions: list[Prediction] = []
    pts = draw(st.sampled_from([0.0, 100.0]))
    steps = st.sampled_from([0.0, 0.1, 0.1, 0.1, 0.2, 0.25, 1.5, -0.1])
    for _ in range(draw(st.integers(1, 8))):
        label, length = draw(st.integers(0, 2)), draw(st.integers(1, 9))
        certainty = draw(st.sampled_from([1.0, 0.9, 0.7, 0.55, 0.5, 0.45]))
        noise = draw(st.sampled_from([0.0, 0.0, 0.3]))
        for _ in range(length):
            row = np.full(3, (1 - certainty) / 2)
            row[label] = certainty
            if noise:
                row += noise * np.array(draw(st.tuples(*[st.floats(0, 1, width=16)] * 3)))
            predictions.append(Prediction(len(predictions), pts, (row / row.sum()).astype(np.float32)))
            pts += draw(steps)
    return predictions


SETTINGS = st.builds(
    lambda enter, exit_, minimum, gap, update: EventSettings(enter, min(enter, exit_), minimum, gap, update),
    st.sampled_from([0.45, 0.51, 0.6, 0.8]),
    st.sampled_from([0.1, 0.4, 0.6]),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.4]),
)


@settings(max_examples=200, deadline=None)
@given(streams(), st.sampled_from([1, 2, 5, 32]), SETTINGS, st.sampled_from([-1.0, 0.0, 0.1]))
def test_equals_the_slow_reimplementation(
    predictions: list[Prediction], window: int, rules: EventSettings, after: float
) -> None:
    """Running sums and state give what working everything out afresh from the whole stream gives."""
    frames = smooth(predictions, window)
    close_pts = frames[-1].pts + after
    got = [
        (e.label, e.start_pts, e.end_pts, str(e.end_reason), e.peak_confidence, e.detect_delay)
        for e in ended(detect(frames, rules, close_pts))
    ]
    expected = [
        (e.label, e.start, e.end, e.reason, max(e.confidences), max(0.0, e.announced - e.start))
        for e in slow_events(frames, LABELS, rules, close_pts)
    ]
    assert got == expected


@settings(max_examples=150, deadline=None)
@given(streams(), st.sampled_from([1, 3, 32]), SETTINGS)
def test_events_are_ordered_and_complete(
    predictions: list[Prediction], window: int, rules: EventSettings
) -> None:
    """Events never overlap, end after they start, and each is started, updated*, ended."""
    messages = detect(smooth(predictions, window), rules)
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
    events = ended(messages)
    for earlier, later in pairwise(events):
        assert earlier.end_pts <= later.start_pts
    for number, event in enumerate(events, 1):
        assert event.id == f"cam-{number:06d}"
        assert event.start_pts < event.end_pts
        assert 0 < event.mean_confidence <= event.peak_confidence + 1e-12
        life = [m.phase.value for m in messages if m.event.id == event.id]
        assert life == ["started", *["updated"] * (len(life) - 2), "ended"]
    assert len({m.event.id for m in messages}) == len(events)


@settings(max_examples=60, deadline=None)
@given(st.text(".ab", min_size=1, max_size=60))
def test_without_smoothing_events_are_the_runs_of_argmax(names: str) -> None:
    """Window 1 and no durations: the maximal runs of the raw top label, exactly."""
    rules = EventSettings(enter=0.51, exit=0.51, min_duration=0.0, merge_gap=0.0)
    runs, first = [], 0
    for i in range(1, len(names) + 1):
        if i == len(names) or names[i] != names[first]:
            runs.append((names[first], first, i))
            first = i
    got = spans(ended(detect(smooth(one_hot(names), 1), rules)))
    assert got == [run for run in runs if run[0] != "."]


def test_a_viewer_sees_the_exit_before_the_end_is_told() -> None:
    """The annotation must not claim an event while ``ended`` waits for the gap that might still close."""
    detector = EventDetector("cam", LABELS, DEFAULTS)
    states = []
    for frame in smooth(one_hot("." * 40 + "a" * 60 + "." * 120), 32):
        phases = [message.phase for message in detector.update(frame)]
        states.append((detector.is_open, phases))
    opened = next(i for i, (_, phases) in enumerate(states) if EventPhase.STARTED in phases)
    told = next(i for i, (_, phases) in enumerate(states) if EventPhase.ENDED in phases)
    left = next(i for i in range(opened, told) if not states[i][0])
    assert all(is_open for is_open, _ in states[opened:left])
    assert 100 < left < 125 < told
