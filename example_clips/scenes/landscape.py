"""Hills, a meadow, trees, sometimes water, under drifting clouds."""

from __future__ import annotations

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.camera import Camera, Image, paste_plane, vec
from example_clips.scenes.mesh import draw, merge, shadow
from example_clips.scenes.outdoors import outdoor_light, outdoor_sky, tree


class Landscape:
    """Hills, a meadow, trees, sometimes water, under drifting clouds."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        """Choose all that is there; `seconds` is how long the camera has for its slow move."""
        self.seconds = max(seconds, 1.0)
        self.r = rng.uniform(-1, 1, 8)
        self.light = outdoor_light(rng)
        self.sky = outdoor_sky(rng)
        self.hills = []
        haze = vec(0.80, 0.72, 0.64)
        green = tx.pick(rng, [vec(0.14, 0.38, 0.28), vec(0.2, 0.4, 0.42), vec(0.12, 0.3, 0.2)])
        for n in range(4):
            near = (n + 1) / 4
            colour = haze * (1 - near) + green * near
            layer = tx.foliage(rng, 300, 1400, colour, 0.25, n * 0.25)
            if n < 2:
                layer[..., :3] = cv2.GaussianBlur(layer[..., :3], (0, 0), 6)
            self.hills.append(layer)
        meadow = tx.speckle(rng, tx.plain(400, 1400, green * rng.uniform(1.0, 1.5)), 0.25, 0.16)
        self.meadow = meadow
        self.lake = bool(rng.random() < 0.4)
        self.trees = [
            tree(rng, vec(rng.uniform(-14, 14), rng.uniform(12, 45), 0), rng.uniform(5, 10))
            for _ in range(int(rng.integers(2, 10)))
        ]

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        h, w = image.shape[:2]
        r, drift = self.r, t / self.seconds - 0.5
        eye = vec(0.6 * drift, 0, 2.2 + abs(r[0]))
        cam = Camera(eye, vec(4 * r[1] + 3 * drift, 30, 2.5 + 2 * r[2]), 45 + 10 * r[3], (w, h))
        x0 = int(40 + 4 * t)
        image[:] = cv2.resize(self.sky[:, x0 % 100 : x0 % 100 + 480], (w, h), interpolation=cv2.INTER_CUBIC)
        for n, layer in enumerate(self.hills):
            far = 400 / (n + 1) ** 1.4
            tall = far * (0.30 - 0.06 * n) * (1.2 + 0.5 * r[4])
            paste_plane(
                image, cam, vec(-far * 1.2, far, tall), vec(far * 2.4, 0, 0), vec(0, 0, -tall - 4), layer
            )
        paste_plane(image, cam, vec(-140, 130, 0), vec(280, 0, 0), vec(0, -130, 0), self.meadow)
        paste_plane(image, cam, vec(-40, 40, 0.001), vec(80, 0, 0), vec(0, -40, 0), self.meadow)
        if self.lake:
            water = tx.plain(4, 4, vec(0.62, 0.52, 0.42))
            paste_plane(image, cam, vec(-60, 75, 0), vec(120, 0, 0), vec(0, -40, 0), water)
        solids = sorted(self.trees, key=lambda m: -float(m.vertices[0, 1]))
        shadow(image, cam, merge(solids), self.light, 0.4, w / 300)
        for solid in solids:
            draw(image, cam, solid, self.light)
