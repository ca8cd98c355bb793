"""Random training views."""

import numpy as np
import pytest

from models import augmentation


@pytest.mark.parametrize("view", [augmentation.video_view, augmentation.lecture_view])
@pytest.mark.parametrize(("height", "width"), [(224, 399), (399, 224), (30, 30), (12, 200)])
def test_views_have_the_asked_size_and_repeat_for_a_seed(view, height: int, width: int) -> None:
    """Any photograph gives a full view, and the same seed gives the same one."""
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    for seed in range(40):
        result = view(image, np.random.default_rng(seed), 96)
        assert result.shape == (96, 96, 3)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, view(image, np.random.default_rng(seed), 96))


def test_the_image_on_disk_is_not_changed() -> None:
    """A view must not write into the decoded image, which a cache may hold."""
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    before = image.copy()
    for seed in range(60):
        augmentation.video_view(image, np.random.default_rng(seed), 48)
        augmentation.overlay_text(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before)


def test_degrading_keeps_the_content() -> None:
    """Camera faults blur a picture but do not turn it into another."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, 48:] = 220
    for seed in range(40):
        result = augmentation.degrade(image, np.random.default_rng(seed)).astype(int)
        assert result[:, 70:].mean() - result[:, :26].mean() > 120
