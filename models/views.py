"""From a decoded image to what training and validation see of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from models import augmentation
from models.batches import MakeView
from models.errors import ModelError
from models.preprocessing import Image, Preprocessing, resize
from models.settings import TrainingSettings

Make = Callable[[Image, np.random.Generator, int], Image]

AUGMENTATIONS: dict[str, Make | None] = {
    "none": None,
    "shifts": augmentation.shifted_view,
    "video": augmentation.video_view,
    "lecture": augmentation.lecture_view,
}


def views(settings: TrainingSettings) -> tuple[MakeView, MakeView]:
    """The random view of a training image and the fixed view of a validation image."""
    try:
        make = AUGMENTATIONS[settings.augmentation]
    except KeyError:
        known = ", ".join(AUGMENTATIONS)
        raise ModelError(f"no augmentation {settings.augmentation!r}; there are {known}") from None
    plain = partial(plain_view, settings.preprocessing)
    height = settings.train_size or settings.preprocessing.height
    width = settings.train_size or settings.preprocessing.width
    return (partial(_random, make, height, width) if make else plain), plain


def plain_view(
    preprocessing: Preprocessing, image: Image, rng: np.random.Generator, *, view: int = 0
) -> Image:
    """What serving will see."""
    return preprocessing.model_input(image, view)


def _random(make: Make, height: int, width: int, image: Image, rng: np.random.Generator) -> Image:
    """Views are made square; for a network that is not, they are squeezed afterwards."""
    view = make(image, rng, max(height, width))
    return view if height == width else resize(view, height, width)
