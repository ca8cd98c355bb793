"""What training sees of an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.preprocessing import Fit, Preprocessing, View
from models.presets import PRESETS
from models.views import plain_views, refit_views

SERVED = Preprocessing(height=32, width=48, views=(View(), View(Fit.CROP, True)))
SETTINGS = replace(PRESETS["video"], train_size=16)


def test_the_refit_sees_what_serving_does_and_as_much_again_twice_at_random() -> None:
    """A head fitted to what its base has seen so often is too sure of it; random views are news to both."""
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    seen = [
        view(image, np.random.default_rng(number))
        for number, view in enumerate(refit_views(SETTINGS, SERVED))
    ]
    assert [picture.shape for picture in seen] == [(32, 48, 3)] * 6
    np.testing.assert_array_equal(seen[0], SERVED.model_input(image, 0))
    np.testing.assert_array_equal(seen[1], SERVED.model_input(image, 1))
    assert len({picture.tobytes() for picture in seen}) == 6


def test_without_augmentation_the_refit_sees_what_serving_does() -> None:
    """Whoever asks for no random views gets none, in stage three neither."""
    assert len(refit_views(replace(SETTINGS, augmentation="none"), SERVED)) == len(plain_views(SERVED)) == 2
