from __future__ import annotations

import numpy as np
import pytest

from service.annotate import Annotator, HersheyPen, Pen, clock, default_pen, layout
from service.types import Event, Image, Prediction, SmoothedPrediction

SIZES = [
    (1, 1),
    (8, 8),
    (16, 4000),
    (4000, 16),
    (64, 64),
    (96, 96),
    (426, 240),
    (240, 426),
    (1280, 720),
    (3840, 2160),
]


def smoothed(label: str, confidence: float) -> SmoothedPrediction:
    probabilities = np.array([confidence, 1 - confidence], np.float32)
    return SmoothedPrediction(Prediction(0, 0.0, probabilities), probabilities, label, confidence)


def event(label: str, start: float) -> Event:
    return Event("x-1", "x", label, start, None, 0.9, 0.9, 0.5)


def grey(width: int, height: int, value: int) -> Image:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("pen", [default_pen(), HersheyPen()], ids=["default", "hershey"])
def test_draws_in_place_at_any_size(size: tuple[int, int], value: int, pen: Pen) -> None:
    """A frame of any size and brightness gets something visible, without an error and in place."""
    image = grey(*size, value)
    Annotator(pen).draw(image, smoothed("badminton", 0.9), event("badminton", 3.0))
    assert (image != value).any()


@pytest.mark.parametrize("size", SIZES)
def test_hides_little_and_only_the_panel(size: tuple[int, int]) -> None:
    """The rest of the frame stays as it is, and the panel never takes more than a third of the frame."""
    width, height = size
    image = grey(width, height, 128)
    Annotator().draw(
        image, smoothed("a label that is far too long for any panel" * 3, 0.5), event("b" * 300, 9e4)
    )
    place = layout(width, height)
    outside = np.ones((height, width), bool)
    outside[place.top : place.top + place.height, place.left : place.left + place.width] = False
    assert (image[outside] == 128).all()
    if min(size) > 8:
        assert place.width * place.height <= width * height / 3


def test_bar_length_is_the_confidence() -> None:
    """The bar can be read as a measure: half confidence fills half of it."""
    image = grey(40, 40, 0)
    Annotator().draw(image, smoothed("x", 0.5), None)
    row = image[-1]
    assert (row[:20] == row[0]).all()
    assert (row[20:] == row[-1]).all()
    assert (row[0] != row[-1]).any()


def test_event_and_no_event_differ() -> None:
    """Someone who watches the video sees whether an event is going on."""
    with_event, without = grey(640, 360, 60), grey(640, 360, 60)
    Annotator().draw(with_event, smoothed("tennis", 0.8), event("tennis", 1.0))
    Annotator().draw(without, smoothed("tennis", 0.8), None)
    assert (with_event != without).any()


def test_before_the_first_prediction_and_with_a_state() -> None:
    """A stream that has no label yet, or cannot see, still gets its state drawn."""
    image = grey(640, 360, 60)
    Annotator().draw(image, None, None, state="connecting")
    assert (image != 60).any()


def test_accents_are_drawn() -> None:
    """Labels are not limited to ASCII."""
    plain, accented = grey(640, 360, 0), grey(640, 360, 0)
    Annotator().draw(plain, smoothed("????????", 0.8), None)
    Annotator().draw(accented, smoothed("épée ůčř", 0.8), None)
    assert (plain != accented).any()


def test_clock_rolls_over() -> None:
    """The time since when an event goes on reads like a clock."""
    assert [clock(t) for t in (0, 59.99, 60, 3599, 3600, -1)] == [
        "00:00",
        "00:59",
        "01:00",
        "59:59",
        "1:00:00",
        "00:00",
    ]
