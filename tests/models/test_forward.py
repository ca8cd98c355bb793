"""A network passes images on as fast as the machine can."""

from typing import Any

import keras
import numpy as np
import pytest

from models.forward import fastest


def test_a_last_batch_is_not_compiled_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras compiles for every size of a batch; a smaller one is filled up, and its rows stay its own."""

    sizes = set()

    class Network:
        def predict_on_batch(self, images: Any) -> Any:
            sizes.add(len(images))
            return images.sum(axis=(1, 2, 3))

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    images = np.random.default_rng(1).random((19, 2, 2, 3), np.float32)
    run = fastest(Network())
    rows = [run(images[start : start + 8]) for start in range(0, len(images), 8)]
    np.testing.assert_allclose(np.concatenate(rows), images.sum(axis=(1, 2, 3)), rtol=1e-6)
    assert sizes == {8}
