"""The labels of a model may change while a stream runs; what goes on must not notice."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import RunSettings
from service.pipeline import Interpreter, ended_by
from service.types import EndReason, Event, EventMessage, EventPhase, Frame, Prediction

LABELS = ("red", "blue", "background")
SETTINGS = RunSettings(window=4, min_duration=0.2, merge_gap=0.3)


def one_hot(label: str, labels: tuple[str, ...]) -> np.ndarray:
    row = np.full(len(labels), 0.1 / (len(labels) - 1), np.float32)
    row[labels.index(label)] = 0.9
    return row


def events(scenes: list[str], later: tuple[str, ...] | None, at: int) -> list[Event]:
    """The events of scenes at 10 frames a second; from frame ``at`` on there are ``later`` labels."""
    interpreter = Interpreter("s", LABELS, SETTINGS)
    messages: list[EventMessage] = []
    for index, scene in enumerate(scenes):
        if later and index == at:
            messages += interpreter.relabel(later)
        row = np.zeros(len(interpreter.labels), np.float32)
        row[[interpreter.labels.index(label) for label in LABELS]] = one_hot(scene, LABELS)
        messages += interpreter.update(Prediction(index, index / 10, row))
    return ended_by([*messages, *interpreter.close(EndReason.END_OF_STREAM, len(scenes) / 10)])


@given(
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=60),
    st.integers(0, len(LABELS)),
    st.integers(0, 60),
)
def test_a_new_label_changes_nothing_for_the_others(scenes: list[str], place: int, at: int) -> None:
    """A label that comes in the midst of an event, in whatever place, neither ends nor moves any event."""
    later = (*LABELS[:place], "green", *LABELS[place:])
    assert events(scenes, later, at) == events(scenes, None, 0)


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_times_are_dated_across_a_change_of_labels(at: int) -> None:
    """Whether the label has just begun, or has just left, when another label comes."""
    scenes = ["background"] * 15 + ["red"] * 20 + ["background"] * 25
    (event,) = events(scenes, ("green", *LABELS), at)
    assert (event.start_pts, event.end_pts) == (1.5, 3.5)
    assert event.detect_delay == pytest.approx(0.4)


def test_what_was_said_of_the_last_frame_holds_under_other_labels() -> None:
    """A frame that looks like it takes over each label's share, wherever that label stands now."""
    interpreter = Interpreter("s", LABELS, RunSettings(window=1))
    interpreter.update(Prediction(0, 0.0, one_hot("blue", LABELS)))
    interpreter.relabel(("green", "blue", "background", "red"))
    interpreter.repeat(Frame("s", 1, 0.1, 0.0, np.zeros((2, 2, 3), np.uint8)))
    assert interpreter.smoothed
    np.testing.assert_allclose(interpreter.smoothed.probabilities, [0.0, 0.9, 0.05, 0.05])


def test_the_past_takes_no_memory() -> None:
    """A camera has events for years: a thousand leave as much behind as a hundred did."""
    interpreter = Interpreter("s", LABELS, SETTINGS)
    sizes = []
    for number in range(1000):
        for step in range(20):
            row = one_hot("red" if step < 10 else "background", LABELS)
            interpreter.update(Prediction(20 * number + step, 2 * number + step / 10, row))
        sizes.append(len(pickle.dumps(interpreter)))
    assert sizes[999] < sizes[99] + 50  # numbers have a digit more


def test_an_event_ends_with_its_label() -> None:
    """When the label of an open event is taken away, the event ends there and is told of, once."""
    interpreter = Interpreter("s", LABELS, SETTINGS)
    for index in range(10):
        interpreter.update(Prediction(index, index / 10, one_hot("red", LABELS)))
    assert interpreter.event
    (message,) = interpreter.relabel(("blue", "background"))
    assert (message.phase, message.event.label, message.event.end_pts) == (EventPhase.ENDED, "red", 0.9)
    assert interpreter.event is None
    for index in range(10, 20):
        interpreter.update(Prediction(index, index / 10, one_hot("blue", ("blue", "background"))))
    assert interpreter.event
    assert interpreter.event.label == "blue"
    assert len(interpreter.close(EndReason.END_OF_STREAM, 2.0)) == 1
