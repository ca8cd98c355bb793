"""What each stream remembers for a clip model: the right frames, its own alone, at one pass per frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config import RunSettings
from service.engines.restricted import RestrictedClassifier
from service.errors import ConfigurationError
from service.pipeline import run
from service.windows import FrameWindow, WindowedClassifier, engine_of
from tests.service.fakes import ClipColours, ColourClassifier, ListSource


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1)


def expected(seen: list[int], frames: int) -> list[list[int]]:
    """For each frame those up to it, the first standing in for what is missing."""
    return [[seen[max(0, i - back)] for back in reversed(range(frames))] for i in range(len(seen))]


@settings(deadline=None)
@given(frames=st.integers(1, 9), groups=st.lists(st.lists(st.integers(0, 99), max_size=12), max_size=8))
def test_windows_hold_the_last_frames(frames: int, groups: list[list[int]]) -> None:
    """However frames are grouped, each gets the window that ends with it."""
    window = FrameWindow(frames)
    found = [row.ravel().tolist() for group in groups for row in window.extend(numbers(*group))]
    assert found == expected([number for group in groups for number in group], frames)


@settings(deadline=None)
@given(
    frames=st.integers(1, 6),
    steps=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60),
)
def test_streams_do_not_mix(frames: int, steps: list[tuple[int, bool]]) -> None:
    """Streams that take turns, and are cut at any moment, see their own frames since their own cut only."""
    windows = [FrameWindow(frames) for _ in range(4)]
    seen: list[list[int]] = [[] for _ in windows]
    for number, (stream, is_cut) in enumerate(steps):
        if is_cut:
            windows[stream].reset()
            seen[stream] = []
        seen[stream].append(number)
        row = windows[stream].extend(numbers(number))[0].ravel().tolist()
        assert row == expected(seen[stream], frames)[-1]


def test_features_may_have_any_shape() -> None:
    """A network that cannot be cut has pictures for features; their type stays, and none is shared."""
    pictures = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    window = FrameWindow(3)
    windows = window.extend(pictures)
    assert (windows.shape, windows.dtype) == ((5, 3, 2, 2, 3), np.uint8)
    pictures[:] = 0
    assert window.extend(pictures[:1])[0, 0].any()
    assert window.extend(pictures[:0]).shape == (0, 3, 2, 2, 3)
    with pytest.raises(ConfigurationError, match="got 0"):
        FrameWindow(0)


@pytest.mark.parametrize(("batch_size", "gate"), [(1, None), (3, None), (8, None), (8, True)])
def test_one_pass_per_frame(batch_size: int, gate: bool | None) -> None:
    """The expensive part sees each frame once, however long the window; batches change no event.

    Frames that look like the one before are left out for models of single frames only.
    """
    scenes = ["background"] * 20 + ["red"] * 40 + ["blue"] * 30
    engine = ClipColours(frames=20)
    result = run(
        ListSource(scenes),
        "clip",
        WindowedClassifier(engine),
        RunSettings(window=4, batch_size=batch_size, gate=gate),
    )
    assert (engine.encoded, engine.decided) == (90, 90)
    assert [(event.label, event.start_pts, event.end_pts) for event in result.events] == [
        ("red", 2.6, 6.5),
        ("blue", 6.6, 9.0),
    ]


def test_a_frame_model_is_a_window_of_one() -> None:
    """Both kinds of model go through the same code in the shared process."""
    classifier = ColourClassifier()
    inputs = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), np.uint8)
    engine = engine_of(classifier)
    windows = FrameWindow(engine.frames).extend(engine.encode(inputs))
    assert np.array_equal(engine.decide(windows), classifier.classify(inputs))
    clips = ClipColours()
    assert engine_of(WindowedClassifier(clips)) is clips


def test_reset_begins_anew_through_other_classifiers() -> None:
    """What restricts a model to some labels hands the reset on."""
    inputs = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), np.uint8)
    fresh = RestrictedClassifier(WindowedClassifier(ClipColours()), ["red"])
    expected = fresh.classify(inputs[3:])
    used = RestrictedClassifier(WindowedClassifier(ClipColours()), ["red"])
    used.classify(inputs[:3])
    assert not np.array_equal(used.classify(inputs[3:]), expected)
    used.reset()
    assert np.array_equal(used.classify(inputs[3:]), expected)
