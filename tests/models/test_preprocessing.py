"""From images of any shape to the input of a network."""

import json

import cv2
import numpy as np
import pytest

from models.errors import ArtifactError
from models.preprocessing import Fit, Preprocessing, View, fit_image


def gradient(height: int, width: int) -> np.ndarray:
    row = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, axis=0), 3, axis=2)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize(
    ("height", "width"), [(720, 1280), (1280, 720), (240, 320), (224, 224), (1, 1), (8, 900)]
)
def test_every_shape_becomes_the_input_shape(fit: Fit, height: int, width: int) -> None:
    """16:9, portrait, 4:3 and absurd frames must all reach the network."""
    result = fit_image(gradient(height, width), 224, 224, fit)
    assert result.shape == (224, 224, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (1081, 1919), (2160, 3840)])
def test_halving_first_hardly_changes_the_means(height: int, width: int) -> None:
    """The way through halves that saves time must end at the same picture, nowhere shifted."""
    coarse = np.random.default_rng(1).integers(0, 256, (18, 32, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    direct = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA).astype(int)
    difference = fit_image(image, 224, 224, Fit.SQUEEZE) - direct
    assert np.abs(difference).max() <= 4
    assert np.abs(difference).mean() < 0.6


def test_squeeze_keeps_both_edges() -> None:
    """Squeezing loses no part of the image."""
    result = fit_image(gradient(100, 400), 50, 50, Fit.SQUEEZE)
    assert result[0, 0, 0] < 10
    assert result[0, -1, 0] > 245


def test_crop_keeps_the_middle_at_its_proportions() -> None:
    """Cropping a wide image loses its left and right thirds and nothing of its middle."""
    image = gradient(100, 300)
    result = fit_image(image, 100, 100, Fit.CROP)
    np.testing.assert_array_equal(result, image[:, 100:200])


def test_letterbox_fills_with_black() -> None:
    """Letterboxing a wide image leaves black bars above and below, of equal height."""
    result = fit_image(np.full((100, 200, 3), 255, np.uint8), 100, 100, Fit.LETTERBOX)
    assert (result[25:75] == 255).all()
    assert not result[:25].any()
    assert not result[75:].any()


def test_round_trip_through_a_dictionary() -> None:
    """What training recorded is what serving does."""
    preprocessing = Preprocessing(
        height=96, width=128, views=(View(), View(Fit.CROP, mirrored=True)), mean=(1.0, 2.0, 3.0)
    )
    stored = json.loads(json.dumps(preprocessing.to_dict()))
    assert stored["views"] == ["squeeze", "crop mirrored"]
    assert Preprocessing.from_dict(stored) == preprocessing


def test_models_of_before_there_were_views_are_read() -> None:
    """Their cards name the one way in which images are made square."""
    fields = Preprocessing(views=(View(Fit.CROP),)).to_dict()
    del fields["views"]
    assert Preprocessing.from_dict(fields | {"fit": "crop"}) == Preprocessing(views=(View(Fit.CROP),))


def test_views_follow_each_other_and_begin_again() -> None:
    """Every view in turn; a mirrored one has left and right changed, and nothing else."""
    image = gradient(60, 120)
    preprocessing = Preprocessing(height=32, width=32, views=(View(), View(Fit.CROP, mirrored=True)))
    first, second, third = (preprocessing.model_input(image, view) for view in range(3))
    np.testing.assert_array_equal(first, fit_image(image, 32, 32, Fit.SQUEEZE))
    np.testing.assert_array_equal(second, fit_image(image, 32, 32, Fit.CROP)[:, ::-1])
    np.testing.assert_array_equal(third, first)


@pytest.mark.parametrize(
    "change",
    [
        {"views": ["stretch"]},
        {"views": ["crop turned"]},
        {"views": []},
        {"views": [3]},
        {"colour": "bgr"},
        {"mean": 3},
        {"mean": [1, 2, "3"]},
        {"scale": None},
        {"scale": [1, 2]},
        {"height": "32"},
        {"width": 0},
        {"standardise": "no"},
    ],
)
def test_unknown_values_are_refused(change: dict) -> None:
    """A model card of a later version is not misread."""
    with pytest.raises(ArtifactError, match="cannot be understood"):
        Preprocessing.from_dict(Preprocessing().to_dict() | change)
