"""Labels from a few examples: what must hold whatever the examples are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.prototypes import Prototypes, Reference, alone, joined

WIDTH = 48


def around(centre: int, count: int, rng: np.random.Generator, noise: float = 0.15) -> np.ndarray:
    """Features, none negative, of images of one kind: their own part of the channels is active."""
    base = np.full(WIDTH, 0.05)
    base[8 * centre : 8 * centre + 8] = 1.0
    return np.maximum(0, base + rng.normal(0, noise, (count, WIDTH))).astype(np.float32)


def reference(seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    features = np.concatenate([around(i, 20, rng) for i in range(3)])
    return Reference.of(features, np.repeat(np.arange(3), 20), ("a", "b", "c"), rank=4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 20), st.booleans())
def test_the_order_of_examples_does_not_matter(seed: int, count: int, with_reference: bool) -> None:
    """Whoever gives the same examples in another order gets the same label."""
    rng = np.random.default_rng(seed)
    examples, asked = around(4, count, rng), around(4, 5, rng)
    known = reference() if with_reference else Reference.none(WIDTH)
    one = Prototypes.fit({"new": examples}, known).logits(asked)
    other = Prototypes.fit({"new": rng.permutation(examples)}, known).logits(asked)
    np.testing.assert_allclose(one, other, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 20), st.booleans())
def test_a_copy_of_an_example_is_of_its_label(seed: int, count: int, with_reference: bool) -> None:
    """What was shown as an example is recognised, and what the model knows is not taken for it."""
    rng = np.random.default_rng(seed)
    examples = {"new": around(4, count, rng), "other": around(5, count, rng)}
    known = reference() if with_reference else Reference.none(WIDTH)
    prototypes = Prototypes.fit(examples, known)
    unsure = np.full((count, 3), 1 / 3, np.float32)
    for place, features in enumerate(examples.values()):
        rows = joined(unsure, prototypes.logits(features))
        assert (rows.argmax(axis=1) == 3 + place).all()
    sure = np.tile(np.array([[0.98, 0.01, 0.01]], np.float32), (10, 1))
    rows = joined(sure, prototypes.logits(around(0, 10, rng)))
    assert (rows.argmax(axis=1) == 0).all()


@given(st.integers(0, 10_000), st.integers(0, 4), st.floats(-100, 100))
def test_probabilities_sum_to_one_and_known_ones_keep_their_ratios(
    seed: int, learned: int, size: float
) -> None:
    """However sure a learned label is of itself."""
    rng = np.random.default_rng(seed)
    known = rng.dirichlet(np.ones(5), 7).astype(np.float32)
    logits = (rng.normal(size=(7, learned)) * size).astype(np.float32)
    rows = joined(known, logits)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert ((rows >= 0) & (rows <= 1)).all()
    rest = rows[:, :5].sum(axis=1, keepdims=True)
    kept = rest[:, 0] > 1e-3
    np.testing.assert_allclose(rows[kept, :5] / rest[kept], known[kept], atol=1e-3)


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_on_trial_is_what_it_would_be(seed: int, beside: int) -> None:
    """What is said of a label on trial is what it gets once it is promoted beside the same labels."""
    rng = np.random.default_rng(seed)
    known = rng.dirichlet(np.ones(4), 6).astype(np.float32)
    others, shadow = rng.normal(size=(6, beside)), rng.normal(size=(6, 1))
    promised = alone(shadow.astype(np.float32), others.astype(np.float32))[:, 0]
    promoted = joined(known, np.concatenate([others, shadow], axis=1).astype(np.float32))[:, -1]
    np.testing.assert_allclose(promised, promoted, atol=1e-5)


def test_logits_are_as_documented() -> None:
    """20 per unit of cosine of the square roots, over a level of 0.5 for a single example, less 0.8."""
    prototypes = Prototypes.fit({"new": np.array([[1, 0]], np.float32)}, Reference.none(2))
    asked = np.array([[1, 0], [16, 9], [0, 1]], np.float32)
    np.testing.assert_allclose(prototypes.logits(asked)[:, 0], [9.2, 5.2, -10.8], atol=1e-4)


def test_an_example_does_not_vouch_for_itself() -> None:
    """Each is compared with the mean of the others: of two that have nothing in common the level is low."""
    different, equal = np.eye(2, dtype=np.float32), np.array([[1, 0], [2, 0]], np.float32)
    fitted = Prototypes.fit({"different": different, "equal": equal}, Reference.none(2))
    np.testing.assert_allclose(fitted.levels, [0 - 2.5 * 0.08, 1 - 2.5 * 0.08], atol=1e-6)


def test_what_is_like_nothing_known_is_not_therefore_new() -> None:
    """An image that is far from the examples is none of theirs, though the known labels are further."""
    rng = np.random.default_rng(1)
    prototypes = Prototypes.fit({"new": around(4, 8, rng)}, reference())
    assert (prototypes.logits(around(4, 5, rng)) > 0).all()
    assert (prototypes.logits(around(4, 5, rng) + 2 * around(5, 5, rng)) < 0).all()


def test_a_reference_keeps_what_matters_in_a_byte_each(tmp_path: Path) -> None:
    """Stored and loaded it decides the same; for another network it is refused, and so is a damaged file."""
    rng = np.random.default_rng(3)
    known, path = reference(), tmp_path / "reference.npz"
    known.save(path, "network one")
    loaded = Reference.load(path, "network one")
    assert loaded.labels == ("a", "b", "c")
    examples, asked = {"new": around(4, 8, rng)}, around(4, 30, rng)
    one, other = (Prototypes.fit(examples, ref).logits(asked) for ref in (known, loaded))
    np.testing.assert_allclose(one, other, atol=0.5)
    with pytest.raises(ModelError, match="another network"):
        Reference.load(path, "network two")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="cannot be read"):
        Reference.load(path, "network one")


def test_labels_without_images_are_refused() -> None:
    """Neither a reference nor a label comes of nothing."""
    rng = np.random.default_rng(0)
    with pytest.raises(ModelError, match="'b'"):
        Reference.of(around(0, 4, rng), np.zeros(4, np.int64), ("a", "b"))
    with pytest.raises(ModelError, match="no examples"):
        Prototypes.fit({"new": np.zeros((0, WIDTH), np.float32)}, Reference.none(WIDTH))
