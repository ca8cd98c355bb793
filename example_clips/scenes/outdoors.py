"""What streets, landscapes and rooms have in common: daylight, trees, people out for a walk."""

from __future__ import annotations

import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.camera import Array, Image, vec
from example_clips.scenes.figures import Kit, random_kit
from example_clips.scenes.mesh import Light, Mesh, limb, merge


def outdoor_light(rng: np.random.Generator) -> Light:
    """Daylight."""
    direction = vec(rng.uniform(-1, 1), rng.uniform(-1, 0.4), rng.uniform(0.6, 1.3))
    sun = rng.uniform(0.25, 0.9)
    return Light(
        direction / np.linalg.norm(direction),
        vec(0.85, 0.93, 1.0) * sun,
        vec(0.85, 0.78, 0.72) * rng.uniform(0.7, 1.0),
        vec(0.3, 0.32, 0.34),
    )


def outdoor_sky(rng: np.random.Generator) -> Image:
    """A sky of any weather that lets one see."""
    bright = rng.uniform(0.8, 1.05)
    horizon, zenith = vec(0.92, 0.86, 0.78) * bright, vec(0.78, 0.52, 0.28) * bright
    return tx.sky(rng, 240, 600, rng.uniform(-0.4, 0.9), horizon, zenith)


def tree(rng: np.random.Generator, at: Array, height: float) -> Mesh:
    """A trunk under a heap of leaves."""
    green = tx.pick(
        rng, [vec(0.12, 0.36, 0.22), vec(0.10, 0.28, 0.16), vec(0.2, 0.42, 0.34), vec(0.1, 0.3, 0.4)]
    )
    parts = [limb(at, at + vec(0, 0, height * 0.6), [0.14, 0.10, 0.06], vec(0.12, 0.17, 0.22), 8)]
    n = 1500
    d = rng.standard_normal((n, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    r = height * 0.32 * rng.uniform(0.5, 1.05, (n, 1)) * (1 + 0.25 * np.sin(3 * d[:, :1] + 5 * d[:, 1:2]))
    centre = at + vec(0, 0, height * 0.68) + d * r * vec(1, 1, 0.95)
    u = rng.standard_normal((n, 3)) * height * 0.022
    v = rng.standard_normal((n, 3)) * height * 0.022
    corners = np.stack([centre + u, centre + v, centre - u, centre - v], 1).reshape(-1, 3)
    tone = green * (rng.uniform(0.55, 1.3, (n, 1)) * (0.75 + 0.35 * d[:, 2:]))
    parts.append(Mesh(corners, np.arange(4 * n).reshape(n, 4), np.clip(tone, 0, 1), np.zeros(n)))
    return merge(parts)


def street_clothes(rng: np.random.Generator) -> Kit:
    """Somebody dressed for a walk."""
    women = bool(rng.random() < 0.5)
    coat = tx.hsv(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.65))
    legs = tx.pick(rng, [vec(0.35, 0.22, 0.14), vec(0.08, 0.08, 0.08), vec(0.3, 0.35, 0.4)])
    base = Kit(
        coat, legs, coat * 0.8, vec(0.08, 0.08, 0.08), legs, coat, coat, long_sleeves=True, trousers=True
    )
    return random_kit(rng, base, women, numbered=False)
