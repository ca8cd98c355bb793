"""What a model says of frames that it sees in several views in turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import RunSettings
from service.pipeline import run
from service.types import Image
from service.views import ViewMean
from tests.service.fakes import ColourClassifier, ListSink, ListSource, scene


def answer(share: float) -> np.ndarray:
    return np.array([share, 1 - share], np.float32)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.integers(1, 4))
def test_the_answer_is_the_mean_of_the_newest_in_each_view(shares: list[float], views: int) -> None:
    """Until there is one in each view it is the mean of those that are there; one view changes no bit."""
    mean = ViewMean(views)
    for number, share in enumerate(shares, start=1):
        said = mean.update(answer(share), "ab")
        expected = np.mean([answer(each) for each in shares[max(0, number - views) : number]], axis=0)
        assert said == pytest.approx(expected, abs=1e-6)
        if views == 1:
            assert said.tobytes() == answer(share).tobytes()


def test_nothing_is_joined_over_a_cut_or_with_other_labels() -> None:
    """What was said of another scene, or by other labels, has no part in the answer."""
    mean = ViewMean(2)
    mean.update(answer(1.0), ("a", "b"))
    assert mean.update(answer(0.0), ("a", "c")).tolist() == [0, 1]
    mean.reset()
    assert mean.update(answer(1.0), ("a", "c")).tolist() == [1, 0]


def test_views_that_disagree_do_not_flicker() -> None:
    """A scene that is red in one view and blue in the other has one steady answer from its second frame."""

    class Disagreeing(ColourClassifier):
        views = 2

        def model_input(self, image: Image, view: int = 0) -> Image:
            return super().model_input(scene("blue") if view else image)

    sink = ListSink()
    run(ListSource(["red"] * 20), "clip", Disagreeing(), RunSettings(window=1), [sink])
    shown = [step.smoothed.probabilities for step in sink.steps[1:] if step.smoothed]
    assert len(shown) == 19
    assert all(np.array_equal(each, shown[0]) for each in shown)
