"""A room with desks, screens, shelves and perhaps somebody in it."""

from __future__ import annotations

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.body import person
from example_clips.scenes.camera import Camera, Image, paste_plane, vec
from example_clips.scenes.figures import Pose
from example_clips.scenes.mesh import Light, Mesh, box, draw, ellipsoid, limb, merge, shadow
from example_clips.scenes.outdoors import outdoor_sky, street_clothes, tree


class Office:
    """A room with desks, screens, shelves and perhaps somebody in it."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        """Choose all that is there; `seconds` is how long the camera has for its slow move."""
        self.seconds = max(seconds, 1.0)
        self.r = rng.uniform(-1, 1, 8)
        self.sky = outdoor_sky(rng)
        wall = tx.pick(
            rng, [vec(0.8, 0.85, 0.88), vec(0.7, 0.72, 0.72), vec(0.6, 0.72, 0.78), vec(0.75, 0.7, 0.62)]
        )
        back = tx.speckle(rng, tx.plain(300, 800, wall), 0.03, 0.01)
        for _ in range(int(rng.integers(1, 3))):
            at = int(rng.uniform(30, 560))
            cv2.rectangle(back, (at - 6, 34), (at + 206, 186), (0.9, 0.9, 0.9), -1)
            back[40:180, at : at + 200] = cv2.resize(self.sky, (200, 140)) * 1.1
            cv2.line(back, (at + 100, 40), (at + 100, 180), (0.9, 0.9, 0.9), 4)
        if rng.random() < 0.7:
            at = int(rng.uniform(30, 650))
            daubs = rng.standard_normal((5, 5, 3)).astype(np.float32)
            picture = cv2.resize(daubs, (90, 100), interpolation=cv2.INTER_CUBIC)
            back[60:160, at : at + 90] = np.clip(0.5 + 0.3 * picture, 0, 1)
            cv2.rectangle(back, (at, 60), (at + 90, 160), (0.1, 0.1, 0.1), 3)
        self.back = np.asarray(np.clip(back, 0, 1), np.float32)
        self.side = tx.speckle(rng, tx.plain(300, 500, wall * 0.85), 0.03, 0.01)
        if rng.random() < 0.5:
            self.floor = tx.planks(rng, 500, 700, vec(0.25, 0.38, 0.52), 10, 110)
        else:
            self.floor = tx.speckle(rng, tx.plain(500, 700, tx.hsv(rng.random(), 0.2, 0.4)), 0.05, 0.08)
        parts: list[Mesh] = []
        wood = tx.pick(rng, [vec(0.35, 0.5, 0.65), vec(0.8, 0.8, 0.8), vec(0.18, 0.26, 0.38)])
        for _ in range(int(rng.integers(2, 5))):
            x, y = rng.uniform(-3, 3), rng.uniform(2.5, 6)
            parts.append(box(vec(x, y, 0.70), vec(x + 1.5, y + 0.75, 0.74), wood, 0.3, 3))
            for dx in (0.05, 1.4):
                for dy in (0.05, 0.65):
                    parts.append(
                        box(
                            vec(x + dx, y + dy, 0), vec(x + dx + 0.05, y + dy + 0.05, 0.7), vec(0.3, 0.3, 0.3)
                        )
                    )
            parts.append(
                box(
                    vec(x + 0.45, y + 0.45, 0.84), vec(x + 1.05, y + 0.49, 1.2), vec(0.07, 0.07, 0.07), 0.4, 2
                )
            )
            parts.append(
                box(
                    vec(x + 0.47, y + 0.445, 0.86),
                    vec(x + 1.03, y + 0.449, 1.18),
                    vec(0.6, 0.5, 0.4) * rng.uniform(0.4, 1.4),
                    0.4,
                )
            )
            parts.append(
                box(vec(x + 0.7, y + 0.46, 0.74), vec(x + 0.8, y + 0.5, 0.86), vec(0.07, 0.07, 0.07))
            )
            parts.append(
                box(vec(x + 0.5, y + 0.15, 0.74), vec(x + 0.95, y + 0.3, 0.76), vec(0.15, 0.15, 0.15))
            )
            seat = tx.pick(rng, [vec(0.1, 0.1, 0.1), vec(0.4, 0.2, 0.1), vec(0.2, 0.2, 0.5)])
            parts.append(box(vec(x + 0.5, y - 0.5, 0.42), vec(x + 1.0, y - 0.05, 0.5), seat, 0, 2))
            parts.append(box(vec(x + 0.52, y - 0.56, 0.5), vec(x + 0.98, y - 0.5, 1.0), seat, 0, 2))
            parts.append(
                limb(
                    vec(x + 0.75, y - 0.28, 0.08),
                    vec(x + 0.75, y - 0.28, 0.42),
                    [0.03, 0.03],
                    vec(0.2, 0.2, 0.2),
                    8,
                )
            )
        shelf_x = rng.uniform(-4, 2.5)
        for z in np.arange(0.1, 2.0, 0.38):
            parts.append(box(vec(shelf_x, 7.55, z), vec(shelf_x + 1.6, 7.9, z + 0.03), wood, 0.2, 3))
            book = shelf_x + 0.03
            while book < shelf_x + 1.5:
                wide = rng.uniform(0.025, 0.06)
                if rng.random() < 0.85:
                    parts.append(
                        box(
                            vec(book, 7.6, z + 0.03),
                            vec(book + wide, 7.82, z + rng.uniform(0.2, 0.33)),
                            tx.hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.15, 0.7)),
                        )
                    )
                book += wide + 0.005
        pot, _ = ellipsoid(vec(shelf_x - 0.5, 7.2, 0.2), np.diag([0.2, 0.2, 0.25]), 12, 8)
        pot.colours = pot.colours * vec(0.3, 0.4, 0.6)
        parts += [pot, tree(rng, vec(shelf_x - 0.5, 7.2, 0.2), 1.4)]
        self.room = merge(parts)
        self.staff = [
            (street_clothes(rng), rng.uniform(-3.5, 3.5), rng.uniform(4, 7), rng.random())
            for _ in range(int(rng.integers(0, 4)))
        ]
        key = rng.uniform(0.3, 0.6)
        self.light = Light(
            vec(-0.3, -0.4, 0.86),
            vec(1, 1, 1) * key,
            vec(0.8, 0.82, 0.85) * rng.uniform(0.7, 1.0),
            vec(0.4, 0.42, 0.45),
        )

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        h, w = image.shape[:2]
        r, drift = self.r, t / self.seconds - 0.5
        cam = Camera(
            vec(2 * r[0] + 0.8 * drift, -1 + r[1], 1.55 + 0.3 * r[2]),
            vec(1.5 * r[3] + 0.3 * drift, 7, 1.0 + 0.3 * r[4]),
            52 + 9 * r[5],
            (w, h),
        )
        image[:] = 0.85
        paste_plane(image, cam, vec(-6, 8, 3.2), vec(12, 0, 0), vec(0, 0, -3.2), self.back)
        paste_plane(image, cam, vec(-6, -4, 3.2), vec(0, 12, 0), vec(0, 0, -3.2), self.side)
        paste_plane(image, cam, vec(6, 8, 3.2), vec(0, -12, 0), vec(0, 0, -3.2), self.side)
        paste_plane(image, cam, vec(-6, 8, 0), vec(12, 0, 0), vec(0, -12, 0), self.floor)
        solids = [self.room]
        for kit, x, y, phase in self.staff:
            turn = 2 * np.pi * phase + 0.3 * np.sin(t + phase)
            pose = Pose(
                right=vec(0.2 + 0.05 * np.sin(2 * t), -0.25, 1.0 + 0.3 * phase),
                left=vec(0.05, 0.27, 0.85),
                lean=0.03,
            )
            solids.append(person(kit, pose, vec(x, y), turn, 12).mesh)
        everything = merge(solids)
        shadow(image, cam, everything, self.light, 0.35, w / 120)
        draw(image, cam, everything, self.light)
