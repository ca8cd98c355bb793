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


def test_an_inset_is_small_and_leaves_what_is_around_it() -> None:
    """0.4 to 0.8 of the width; both images stay as they were."""
    image, around = np.full((80, 80, 3), 250, np.uint8), np.full((80, 80, 3), 10, np.uint8)
    soft = 0
    for seed in range(60):
        result = augmentation.inset(image, around, np.random.default_rng(seed))
        assert result.dtype == np.uint8
        changed = (result != 10).any(axis=2)
        width, height = np.ptp(np.where(changed)[1]) + 1, np.ptp(np.where(changed)[0]) + 1
        assert 0.38 * 80 <= width <= 0.8 * 80
        assert 0.33 * 80 <= height <= 0.85 * 80
        assert changed.sum() == width * height
        assert result.max() == 250
        soft += len(np.unique(result)) > 2
    assert 20 < soft < 50
    assert image.min() == 250
    assert around.max() == 10


def test_degrading_keeps_the_content() -> None:
    """Camera faults blur a picture but do not turn it into another."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, 48:] = 220
    for seed in range(40):
        result = augmentation.degrade(image, np.random.default_rng(seed)).astype(int)
        assert result[:, 70:].mean() - result[:, :26].mean() > 120
