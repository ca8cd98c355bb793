"""What is no sport: a street, a landscape or an office."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from example_clips.scenes.camera import Image
from example_clips.scenes.landscape import Landscape
from example_clips.scenes.office import Office
from example_clips.scenes.street import Street

PLACES: dict[str, Callable[[np.random.Generator, float], Street | Landscape | Office]] = {
    "street": Street,
    "landscape": Landscape,
    "office": Office,
}
SHARES = (0.5, 0.25, 0.25)


class Scene:
    """One of the places, with slow movement."""

    def __init__(self, rng: np.random.Generator, seconds: float, calm: bool = False) -> None:
        """Choose the place and all that stands in it; `calm` changes nothing, there is no action to miss."""
        place = str(rng.choice(list(PLACES), p=SHARES))
        self.place = PLACES[place](rng, seconds)

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        self.place.paint(image, t)
