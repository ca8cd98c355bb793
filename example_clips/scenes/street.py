"""A street with parked and passing cars and people on foot."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.body import person
from example_clips.scenes.camera import Array, Camera, Image, paste_plane, vec
from example_clips.scenes.figures import stride
from example_clips.scenes.mesh import Mesh, box, draw, limb, loft, merge, shadow
from example_clips.scenes.outdoors import outdoor_light, outdoor_sky, street_clothes, tree


def facade(rng: np.random.Generator, h: int = 400, w: int = 600) -> Image:
    """A house front: wall, rows of windows, a ground floor with doors or shops."""
    wall = tx.pick(
        rng,
        [
            vec(0.55, 0.65, 0.72),
            vec(0.35, 0.42, 0.6),
            vec(0.7, 0.75, 0.78),
            vec(0.5, 0.5, 0.5),
            vec(0.45, 0.6, 0.75),
            vec(0.3, 0.33, 0.45),
        ],
    )
    tex = tx.speckle(rng, tx.plain(h, w, wall), 0.08, 0.03)
    if rng.random() < 0.4:
        tex[::8] *= 0.85
    glass = vec(0.35, 0.30, 0.26) * rng.uniform(0.5, 1.3)
    frame = vec(0.85, 0.85, 0.85) if rng.random() < 0.7 else vec(0.12, 0.14, 0.16)
    floors, cols = int(rng.integers(3, 6)), int(rng.integers(4, 9))
    fh, cw = h // (floors + 1), w // cols
    for f in range(floors):
        for c in range(cols):
            x0, y0 = c * cw + cw // 4, f * fh + fh // 5
            x1, y1 = x0 + cw // 2, y0 + int(fh * 0.62)
            cv2.rectangle(tex, (x0 - 3, y0 - 3), (x1 + 3, y1 + 3), frame.tolist(), -1)
            cv2.rectangle(tex, (x0, y0), (x1, y1), (glass * rng.uniform(0.5, 1.6)).tolist(), -1)
            cv2.line(tex, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), frame.tolist(), 2)
            cv2.rectangle(tex, (x0 - 6, y1 + 4), (x1 + 6, y1 + 8), (wall * 0.8).tolist(), -1)
        cv2.rectangle(tex, (0, (f + 1) * fh - 2), (w, (f + 1) * fh), (wall * 0.75).tolist(), -1)
    shops = rng.random() < 0.6
    y0 = floors * fh
    for c in range(cols):
        x0, x1 = c * cw + cw // 8, (c + 1) * cw - cw // 8
        if shops:
            cv2.rectangle(
                tex, (x0, y0 + fh // 3), (x1, h - 8), (vec(0.3, 0.3, 0.3) * rng.uniform(0.4, 2)).tolist(), -1
            )
            cv2.rectangle(
                tex,
                (x0 - 4, y0 + fh // 8),
                (x1 + 4, y0 + fh // 3),
                tx.hsv(rng.random(), 0.6, rng.uniform(0.2, 0.7)).tolist(),
                -1,
            )
        elif c % 3 == 1:
            cv2.rectangle(
                tex,
                (x0 + cw // 6, y0 + fh // 5),
                (x1 - cw // 6, h),
                (vec(0.1, 0.15, 0.25) * rng.uniform(0.5, 2)).tolist(),
                -1,
            )
        else:
            cv2.rectangle(tex, (x0, y0 + fh // 4), (x1, y0 + fh * 3 // 4), glass.tolist(), -1)
    return np.asarray(np.clip(tex, 0, 1), np.float32)


def road_car(colour: Array, at: Array, yaw: float, tall: float) -> Mesh:
    """An everyday car: body, glass house, lights, covered wheels."""
    glass, dark = vec(0.12, 0.11, 0.10), vec(0.05, 0.05, 0.05)
    body = [
        (-2.15, 0.35, 0.80),
        (-2.05, 0.25, 0.95),
        (-1.3, 0.22, 0.98),
        (0.6, 0.22, 0.96),
        (1.2, 0.22, 0.92),
        (1.9, 0.24, 0.78),
        (2.15, 0.33, 0.66),
    ]
    rings = []
    for x, lo, hi in body:
        w = 0.87 if abs(x) < 1.95 else 0.80
        rings.append(
            [
                [x, -w, lo],
                [x, -w - 0.03, (lo + hi) / 2],
                [x, -w + 0.08, hi],
                [x, w - 0.08, hi],
                [x, w + 0.03, (lo + hi) / 2],
                [x, w, lo],
            ]
        )
    parts = [loft(np.array(rings, float), colour, 0.8)]
    top = 1.42 * tall
    cabin = [
        (-1.75, 0.96, 0.97, 0.74),
        (-1.2, 0.96, top, 0.62),
        (-0.3, 0.96, top + 0.03, 0.62),
        (0.45, 0.95, top - 0.04, 0.62),
        (1.15, 0.94, 0.95, 0.76),
    ]
    rings = [
        [
            [x, -0.80, lo],
            [x, -(0.80 + w) / 2, (lo + hi) / 2],
            [x, -w, hi - 0.02],
            [x, -w * 0.8, hi],
            [x, w * 0.8, hi],
            [x, w, hi - 0.02],
            [x, (0.80 + w) / 2, (lo + hi) / 2],
            [x, 0.80, lo],
        ]
        for x, lo, hi, w in cabin
    ]
    rows = np.empty((4, 8, 3))
    rows[:] = glass
    rows[:, 2:5] = colour
    rows[0, 3], rows[3, 3] = glass, glass
    parts.append(loft(np.array(rings, float), rows, 0.8))
    for s in (-1, 1):
        parts.append(
            box(vec(2.0, s * 0.65 - 0.16, 0.58), vec(2.13, s * 0.65 + 0.16, 0.70), vec(0.9, 0.9, 0.9), 0.8)
        )
        parts.append(
            box(
                vec(-2.16, s * 0.68 - 0.12, 0.68),
                vec(-2.06, s * 0.68 + 0.12, 0.86),
                vec(0.08, 0.05, 0.6),
                0.8,
            )
        )
        for x in (-1.3, 1.32):
            parts.append(
                limb(
                    vec(x, s * 0.68, 0.32), vec(x, s * 0.905, 0.32), [0.33, 0.33], dark, 18, round_ends=False
                )
            )
            parts.append(
                limb(
                    vec(x, s * 0.90, 0.32),
                    vec(x, s * 0.915, 0.32),
                    [0.21, 0.19],
                    vec(0.5, 0.5, 0.5),
                    14,
                    gloss=0.5,
                    round_ends=False,
                )
            )
    parts.append(box(vec(2.14, -0.26, 0.42), vec(2.165, 0.26, 0.53), vec(0.85, 0.85, 0.85)))
    c, s = np.cos(yaw), np.sin(yaw)
    return merge(parts).moved(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), at)


class Street:
    """A street with parked and passing cars and people on foot."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        """Choose all that is there; `seconds` is how long the camera has for its slow move."""
        self.seconds = max(seconds, 1.0)
        self.r = rng.uniform(-1, 1, 8)
        self.light = outdoor_light(rng)
        self.sky = outdoor_sky(rng)
        self.fronts = [facade(rng) for _ in range(6)]
        self.heights = rng.uniform(9, 16, 6)
        grey = rng.uniform(0.25, 0.42)
        road = tx.speckle(rng, tx.plain(520, 900, vec(grey, grey, grey)), 0.06, 0.05)
        walk = tx.speckle(rng, tx.plain(520, 900, vec(0.55, 0.58, 0.6) * rng.uniform(0.7, 1.1)), 0.05, 0.03)
        walk[::14] *= 0.88
        walk[:, ::14] *= 0.88
        road[:120], road[-120:] = walk[:120], walk[-120:]
        road[120:126], road[-126:-120] = 0.6, 0.6
        if rng.random() < 0.6:
            for dash in range(0, 900, 60):
                road[257:262, dash : dash + 30] = 0.85
        self.road = road
        self.cars = []
        for s in (-1, 1):
            spot = -18.0
            while spot < 40:
                if rng.random() < 0.7:
                    tone = tx.pick(
                        rng,
                        [
                            vec(0.8, 0.8, 0.8),
                            vec(0.1, 0.1, 0.1),
                            vec(0.4, 0.4, 0.42),
                            vec(0.1, 0.08, 0.5),
                            vec(0.4, 0.2, 0.1),
                            vec(0.55, 0.6, 0.6),
                        ],
                    )
                    self.cars.append(
                        road_car(
                            tone, vec(spot, s * 5.4, 0), 0.0 if s < 0 else np.pi, rng.uniform(0.98, 1.15)
                        )
                    )
                spot += rng.uniform(5.5, 8)
        self.trees = [
            tree(rng, vec(x, s * 7.4, 0), rng.uniform(4.5, 7))
            for s in (-1, 1)
            for x in np.arange(2, 40, rng.uniform(8, 14))
            if rng.random() < 0.7 - 0.4 * (s < 0)
        ]
        self.walkers = [
            (
                street_clothes(rng),
                rng.uniform(2, 26),
                float(rng.choice([-1, 1])),
                rng.choice([-1, 1]) * rng.uniform(6.6, 9),
                rng.uniform(1.0, 1.6),
                rng.random(),
            )
            for _ in range(int(rng.integers(3, 9)))
        ]
        self.moving = [
            (tx.hsv(rng.random(), 0.5, 0.5), rng.uniform(-10, 40), d)
            for d in (-1.0, 1.0)
            if rng.random() < 0.6
        ]

    def camera(self, t: float, size: tuple[int, int]) -> Camera:
        """The view at time `t`."""
        r, drift = self.r, t / self.seconds - 0.5
        if r[0] > -0.2:  # along the street
            eye = vec(-6 + 0.8 * drift, -8.5 + 5 * r[1], 1.7 + 0.8 * abs(r[2]))
            return Camera(eye, vec(14, 1.5 * r[3] + 1.2 * drift, 1.9 + 0.6 * r[4]), 45 + 12 * r[5], size)
        eye = vec(8 + 2 * drift, -8.5, 1.7 + abs(r[2]))
        return Camera(eye, vec(9 + 3 * r[3] + 2 * drift, 8, 2.6 + 0.8 * r[4]), 42 + 10 * r[5], size)

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        h, w = image.shape[:2]
        cam = self.camera(t, (w, h))
        image[:] = cv2.resize(self.sky, (w, h), interpolation=cv2.INTER_CUBIC)
        for n in range(5, -1, -1):
            x = -30.0 + 15 * n
            for s in (-1, 1):
                if (s * 10 - cam.eye[1]) * s < 0.3:
                    continue
                tall = self.heights[(n + (s > 0) * 2) % 6]
                paste_plane(
                    image,
                    cam,
                    vec(x, s * 10, tall),
                    vec(15, 0, 0),
                    vec(0, 0, -tall),
                    self.fronts[(n * 2 + (s > 0)) % 6] * np.float32(0.9),
                )
        paste_plane(
            image, cam, vec(60, -12, 14), vec(0, 24, 0), vec(0, 0, -14), self.fronts[0] * np.float32(0.9)
        )
        pavement = np.ascontiguousarray(self.road[:110, :110])
        for start in (-40.0, -4.0, 32.0):
            paste_plane(image, cam, vec(start, -10, 0), vec(36, 0, 0), vec(0, -10, 0), pavement)
            paste_plane(image, cam, vec(start, 10, 0), vec(36, 0, 0), vec(0, -20, 0), self.road)
        solids = [*self.cars, *self.trees]
        for tone, x0, d in self.moving:
            ahead = (x0 + d * 7 * t + 30) % 75 - 30
            solids.append(road_car(tone, vec(ahead, -1.8 * d, 0), 0.0 if d > 0 else np.pi, 1.02))
        for kit, x0, d, y, pace, phase in self.walkers:
            at = vec(x0 + d * pace * t, y)
            step = stride(phase + t * pace * 0.62, 0.36, 0.025)
            low = vec(0, 0, 0.2)
            step = replace(step, right=step.right - low, left=step.left - low)
            pose = replace(step, lean=0.03, twist=step.twist * 0.4, pelvis=vec(0, 0, 0.92))
            solids.append(person(kit, pose, at, 0.0 if d > 0 else np.pi, 10).mesh)
        everything = merge(solids)
        shadow(image, cam, everything, self.light, 0.3 + 0.3 * float(self.light.key.mean()), w / 400)
        for solid in sorted(solids, key=lambda m: -float(np.linalg.norm(m.vertices.mean(0) - cam.eye))):
            draw(image, cam, solid, self.light)
