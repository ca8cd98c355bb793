"""What a model says of frames that it sees in several views in turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.opinion_pool import log_opinion_pool
from service.config import RunSettings
from service.pipeline import run
from service.types import Image
from service.views import ViewPool
from tests.service.fakes import ColourClassifier, ListSink, ListSource, scene


def answer(share: float) -> np.ndarray:
    return np.array([share, 1 - share], np.float32)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.integers(1, 4))
def test_the_answer_is_the_pool_of_the_newest_in_each_view(shares: list[float], views: int) -> None:
    """Until there is one in each view it is the pool of those that are there; one view changes no bit."""
    pool = ViewPool(views)
    for number, share in enumerate(shares, start=1):
        said = pool.update(answer(share), "ab")
        newest = np.stack([answer(each) for each in shares[max(0, number - views) : number]])
        assert said.tobytes() == log_opinion_pool(newest).tobytes()
        if views == 1:
            assert said.tobytes() == answer(share).tobytes()


def test_nothing_is_joined_over_a_cut_or_with_other_labels() -> None:
    """What was said of another scene, or by other labels or shadows, has no part in the answer."""
    pool = ViewPool(2)
    pool.update(answer(1.0), ("a", "b"))
    assert pool.update(answer(0.0), ("a", "c")).tolist() == [0, 1]
    pool.reset()
    assert pool.update(answer(1.0), ("a", "c")).tolist() == [1, 0]
    assert pool.update(answer(0.0), ("a",), ("c",)).tolist() == [0, 1]


def test_a_label_on_trial_is_pooled_as_if_it_were_one_of_the_labels() -> None:
    """Its comparison says what it would have said: the figures of a label that is promoted do not change."""
    known = np.array([[0.7, 0.3], [0.1, 0.9]], np.float32)
    learned = np.array([[0.4], [0.8]], np.float32)
    served, on_trial = ViewPool(2), ViewPool(2)
    for shares, share in zip(known, learned, strict=True):
        as_served = served.update(np.concatenate([shares * (1 - share), share]), ("a", "b", "new"))
        as_shadow = on_trial.update(np.concatenate([shares, share]), ("a", "b"), ("new",))
        assert as_shadow[2] == pytest.approx(as_served[2], abs=1e-6)
        assert as_shadow[:2].sum() == pytest.approx(1)


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
