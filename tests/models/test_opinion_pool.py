"""What a network says in several views, as one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.evaluate import renormalise, softmax
from models.opinion_pool import log_opinion_pool, pool_beside

logits = arrays(np.float32, (3, 4, 5), elements=st.floats(-6, 6, width=32))


@given(logits, st.floats(0.3, 3))
def test_it_is_the_softmax_of_the_mean_of_the_logits(rows: np.ndarray, temperature: float) -> None:
    """Whatever the temperature, which is why that can be fitted to the mean of the logits."""
    pooled = log_opinion_pool(softmax(rows, temperature))
    np.testing.assert_allclose(pooled, softmax(rows.mean(axis=0), temperature), atol=1e-5)
    np.testing.assert_allclose(pooled.sum(axis=-1), 1, atol=1e-6)


@given(logits)
def test_labels_are_left_out_before_or_after(rows: np.ndarray) -> None:
    """A model that is restricted to some labels says of an image what the whole one would say of those."""
    views = softmax(rows)
    before = log_opinion_pool(np.stack([renormalise(view[:, :3]) for view in views]))
    np.testing.assert_allclose(before, renormalise(log_opinion_pool(views)[:, :3]), atol=1e-5)


def test_views_that_contradict_each_other_leave_it_open() -> None:
    """Nothing is divided by zero, and no view that is quite sure has a veto over one that is as sure."""
    sure = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(log_opinion_pool(sure), [0.5, 0.5, 0], atol=1e-5)
    assert pool_beside(np.array([[1.0], [0.0]], np.float32), sure)[0] == pytest.approx(0.5, abs=1e-5)
    agreed = np.array([[1, 0], [1, 0]], np.float32)
    assert pool_beside(np.array([[1.0], [0.0]], np.float32), agreed)[0] == pytest.approx(0.5, abs=1e-5)


def test_one_view_is_not_touched() -> None:
    """Bit by bit, zeros included."""
    one = np.array([[0.25, 0.75, 0]], np.float32)
    assert log_opinion_pool(one).tobytes() == one[0].tobytes()
    assert pool_beside(one, one).tobytes() == one[0].tobytes()
