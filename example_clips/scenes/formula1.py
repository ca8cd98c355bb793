"""Formula 1: open-wheel cars on a race track, followed by a panning camera or seen from beside the track."""

from __future__ import annotations

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.camera import Array, Camera, Image, paste_plane, vec
from example_clips.scenes.car import TYRE_RADIUS, Livery, formula_body, random_livery, wheels
from example_clips.scenes.mesh import Light, Mesh, draw, merge, shadow

TRACK_WIDTH, KERB, PERIOD = 13.0, 1.2, 120.0
"""Metres: asphalt, kerb, and the distance after which the roadside repeats."""
FAST = 62.0
"""Metres per second on a straight."""


def ground_texture(rng: np.random.Generator, curve: float, y_lo: float, y_hi: float, ppm: int = 14) -> Image:
    """PERIOD metres of track from above; column 0 at x = -PERIOD/2, row 0 at `y_hi`."""
    w, h = int(PERIOD * ppm), int((y_hi - y_lo) * ppm)
    x = (np.arange(w) / ppm - PERIOD / 2)[None, :]
    y = y_hi - (np.arange(h) / ppm)[:, None]
    d = y - bend(x, curve)
    grey = rng.uniform(0.27, 0.46)
    tint = vec(rng.uniform(0.98, 1.06), 1.0, rng.uniform(0.95, 1.03))
    verge = tx.pick(rng, [vec(0.18, 0.42, 0.30), vec(0.15, 0.35, 0.22), vec(0.2, 0.45, 0.38)])
    gravel = tx.pick(rng, [vec(0.55, 0.66, 0.74), vec(0.45, 0.55, 0.62), verge, vec(grey, grey, grey) * 1.1])
    tex = tx.speckle(rng, tx.plain(h, w, verge), 0.15, 0.06)
    edge = TRACK_WIDTH / 2
    off = np.abs(d)
    trap = (off > edge + KERB + 1.5) & (off < edge + 9)
    tex[trap] = tx.speckle(rng, tx.plain(h, w, gravel), 0.08, 0.05)[trap]
    paint = tx.pick(rng, [vec(0.3, 0.5, 0.15), vec(0.6, 0.3, 0.12), vec(0.2, 0.2, 0.6), verge, verge])
    tex[(off > edge + KERB) & (off < edge + KERB + 1.5)] = paint
    road = tx.speckle(rng, tx.plain(h, w, grey * tint), 0.05, 0.05)
    rubber = 1 - 0.22 * np.exp(-((d - 2.2 * np.sin(x / 38)) ** 2) / 3.0) - 0.08 * np.exp(-((d + 3) ** 2))
    road = road * rubber[..., None].astype(np.float32)
    on = off < edge
    tex[on] = road[on]
    pair = [
        (vec(0.1, 0.1, 0.75), vec(0.9, 0.9, 0.9)),
        (vec(0.6, 0.25, 0.1), vec(0.9, 0.9, 0.9)),
        (vec(0.1, 0.75, 0.85), vec(0.1, 0.1, 0.7)),
    ]
    first, second = pair[int(rng.choice([0, 0, 0, 1, 2]))]
    stripe = ((x // 1.5) % 2 == 0) & (off > -1)
    kerb = (
        (off >= edge)
        & (off < edge + KERB)
        & ((np.abs(curve) > 0.05) | (np.sin(x / PERIOD * 4 * np.pi) > rng.uniform(-1.2, 0.4)))
    )
    tex[kerb & stripe] = first
    tex[kerb & ~stripe] = second
    tex[(off > edge - 0.25) & (off < edge - 0.08)] = 0.9
    return cv2.GaussianBlur(np.asarray(np.clip(tex, 0, 1), np.float32), (0, 0), 0.7)


def bend(x: Array | float, curve: float) -> Array:
    """Where the middle of the track lies at `x`."""
    return np.asarray(curve * np.asarray(x) ** 2 / 60)


def fence_texture() -> Image:
    """Wire mesh between posts, with alpha."""
    mesh = np.full((60, 1200, 4), 0.35, np.float32)
    mesh[..., 3] = 0
    mesh[::6, :, 3] = 0.5
    mesh[:, ::6, 3] = 0.5
    mesh[:, ::60, 3] = 0.9
    return mesh


class Scene:
    """Some cars, a piece of track, weather and a camera."""

    def __init__(self, rng: np.random.Generator, seconds: float, calm: bool = False) -> None:
        """Choose track, cars, light and viewpoint; `calm` keeps the view good for a clip."""
        self.view = str(
            rng.choice(["pan", "front", "grid", "corner", "rear"], p=[0.36, 0.34, 0.1, 0.14, 0.06])
        )
        self.r = rng.uniform(-1, 1, 8)
        self.seconds = seconds
        self.curve = float(rng.choice([-1, 1]) * rng.uniform(0.35, 0.9)) if self.view == "corner" else 0.0
        self.night = bool(rng.random() < 0.13)
        self.ground = ground_texture(rng, self.curve, -45, 45)
        self.liveries: list[Livery] = [random_livery(rng) for _ in range(7)]
        overcast = rng.uniform(-0.5, 0.9)
        bright = rng.uniform(0.8, 1.05)
        zenith = vec(0.02, 0.015, 0.01) if self.night else np.clip(vec(0.78, 0.52, 0.28) * bright, 0, 1)
        horizon = vec(0.06, 0.04, 0.04) if self.night else np.clip(vec(0.92, 0.86, 0.78) * bright, 0, 1)
        self.sky = tx.sky(rng, 200, 500, -3 if self.night else overcast, horizon, zenith)
        sun = float(np.clip(1.0 - 0.6 * max(overcast, 0), 0.3, 1)) * rng.uniform(0.7, 1.0)
        warm = rng.uniform(0.75, 1.0)
        direction = vec(rng.uniform(-0.8, 0.8), rng.uniform(-1, 1), rng.uniform(0.5, 1.3))
        self.light = Light(
            direction / np.linalg.norm(direction),
            vec(warm, (1 + warm) / 2, 1.0) * sun,
            vec(0.85, 0.78, 0.72) * rng.uniform(0.75, 1.0),
            vec(0.32, 0.34, 0.36) * rng.uniform(0.7, 1.1),
        )
        self.ambient = 0.75 if self.night else bright
        palette = [tx.hsv(rng.random(), 0.8, 0.6) for _ in range(3)] + [
            vec(0.9, 0.9, 0.9),
            vec(0.1, 0.1, 0.1),
            vec(0.1, 0.1, 0.7),
        ]
        self.boards = [tx.board(rng, 40, 1400, int(rng.integers(6, 12)), palette) for _ in range(2)]
        self.stands = [
            tx.crowd(rng, 16, 90, rng.uniform(0.3, 0.95), tx.hsv(rng.random(), 0.5, 0.5), 12)
            for _ in range(2)
        ]
        self.has_stand = rng.random(2) < (0.55, 0.55)
        green = tx.pick(rng, [vec(0.12, 0.30, 0.20), vec(0.10, 0.22, 0.16), vec(0.16, 0.34, 0.30)])
        self.trees = [tx.foliage(rng, 160, 900, green) for _ in range(2)]
        self.barrier = rng.uniform(9.5, 24, 2)
        if self.view in ("front", "rear", "grid"):
            self.barrier = rng.uniform(9, 15, 2)
        self.fence = fence_texture() if rng.random() < 0.4 else None
        self.armco = vec(0.62, 0.6, 0.58) * rng.uniform(0.6, 1.1)
        self.speed = {"grid": 0.0 if rng.random() < 0.5 else 18.0, "corner": 38.0}.get(
            self.view, FAST * rng.uniform(0.7, 1.0)
        )
        others = {"grid": 6, "corner": 5}.get(self.view, int(rng.integers(0, 4)))
        self.cars: list[tuple[float, float, int]] = [(0.0, rng.uniform(-2, 2), 0)]
        for n in range(others):
            if self.view == "grid":
                self.cars.append((-(n + 1) * 8.0, -3.0 if n % 2 else 3.0, n + 1))
            else:
                self.cars.append((-(n + 1) * rng.uniform(8.5, 16), rng.uniform(-3.5, 3.5), n + 1))
        if self.view == "grid":
            self.cars[0] = (0.0, -3.0, 0)
        self.loop = bool(self.view == "corner")
        self.bodies: list[Mesh] = [formula_body(livery) for livery in self.liveries[: len(self.cars)]]
        lit = np.float32(self.ambient)
        self.ground *= lit
        self.trees = [tree * np.array([lit, lit, lit, 1], np.float32) for tree in self.trees]
        self.boards, self.stands = ([t * lit for t in ts] for ts in (self.boards, self.stands))
        self.armco = self.armco * lit

    def poses(self, t: float) -> list[tuple[float, float, float, int]]:
        """x, y, heading and livery of every car; where the camera follows the first, the world passes by."""
        out = []
        for n, (x0, y0, livery) in enumerate(self.cars):
            x, y = x0, y0
            if self.loop:
                gap = 84.0
                x = (x0 + self.speed * t + 12 * self.r[1] + 6 * self.r[6] - 2 + gap / 2) % gap - gap / 2
            elif n:
                x += 1.5 * np.sin(0.5 * t + n) + 0.3 * t * np.cos(n)
                y += 0.8 * np.sin(0.4 * t + 2 * n)
            else:
                y += 0.4 * np.sin(0.5 * t)
            slope = 2 * self.curve * x / 60
            out.append(
                (x, float(bend(x, self.curve)) + y, float(np.arctan(slope)) + 0.02 * np.sin(t + n), livery)
            )
        return out

    def camera(self, t: float, size: tuple[int, int]) -> Camera:
        """The view at time `t`."""
        r = self.r
        lane = self.poses(t)[0][1]
        swing = np.clip(t / max(self.seconds, 1.0), 0, 1) - 0.5
        narrow = 1.3 if size[0] / size[1] < 1.2 else 1.0
        if self.view == "pan":
            angle = (-np.pi / 2 if r[0] > 0 else np.pi / 2) + 0.75 * r[1] + 0.7 * swing * np.sign(r[7])
            reach = 13 + 3 * r[2]
            eye = reach * vec(np.cos(angle), np.sin(angle), 0) + vec(0, lane, 1.7 + 0.9 * r[3])
            extent = (4.3 + 1.1 * r[4]) * narrow
            target = vec(0.5 * r[5] - 0.2, lane, 0.75 + 0.25 * r[6])
        elif self.view in ("front", "rear"):
            sign = 1 if self.view == "front" else -1
            angle = 0.42 * r[1] + 0.12 * swing
            reach = 22 + 6 * r[2] - 4 * swing
            eye = reach * vec(sign * np.cos(angle), np.sin(angle), 0) + vec(0, lane, 1.9 + 1.0 * r[3])
            extent = (3.3 + 1.1 * r[4]) * narrow
            target = vec(0.0, lane + 0.7 * r[5], 0.8 + 0.3 * r[6])
        elif self.view == "grid":
            eye = vec(14 + 3 * r[1] - 4 * swing, 4 * r[2], 3.2 + 1.6 * r[3])
            target = vec(-8, 0.5 * r[5], 0.6)
            reach, extent = float(np.linalg.norm(eye - target)), 8.0 + 1.5 * r[4]
        else:
            x = 12 * r[1]
            side = -np.sign(self.curve)
            eye = vec(x + 16, float(bend(x, self.curve)) + side * (15 + 4 * r[2]), 4.5 + 2.5 * r[3])
            target = vec(x - 4, float(bend(x - 4, self.curve)) + side * 1.5, 0.5)
            reach, extent = float(np.linalg.norm(eye - target)), 8.5 + 2.0 * r[4]
        return Camera(eye, target, float(np.degrees(2 * np.arctan(extent / 2 / reach))), size, 0.03 * r[7])

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        h, w = image.shape[:2]
        cam = self.camera(t, (w, h))
        self._sky(image, cam)
        shift = 0.0 if self.loop else (self.speed * t) % PERIOD
        self._roadside(image, cam, shift)
        if not self.loop and self.speed > 30:
            self._smear(image, cam, h)
        else:
            image[:] = cv2.GaussianBlur(image, (0, 0), h / 700)
        spin = -self.speed * t / TYRE_RADIUS
        solids = []
        for x, y, heading, livery in self.poses(t):
            c, s = np.cos(heading), np.sin(heading)
            turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            steer = 0.15 * np.sign(self.curve) if self.loop else 0.03 * np.sin(t)
            car = merge([self.bodies[livery], wheels(self.liveries[livery], spin, float(steer))])
            solids.append(car.moved(turn, vec(x, y, 0)))
        solids.sort(key=lambda m: -float(np.linalg.norm(m.vertices.mean(0) - cam.eye)))
        everything = merge(solids)
        overhead = Light(vec(0, 0, 1), self.light.key, self.light.sky, self.light.ground)
        shadow(image, cam, everything, overhead, 0.55, w / 160)
        shadow(image, cam, everything, self.light, 0.25 + 0.35 * float(self.light.key.mean()), w / 500)
        focus = float(np.linalg.norm(cam.target - cam.eye))
        for solid in solids:
            gap = float(np.linalg.norm(solid.vertices.mean(0) - cam.eye)) - focus
            if gap > 6 and focus < 30:
                draw(image, cam, solid, self.light)
                image[:] = cv2.GaussianBlur(image, (0, 0), h / 900)
            else:
                draw(image, cam, solid, self.light)

    def _sky(self, image: Image, cam: Camera) -> None:
        h, w = image.shape[:2]
        forward = cam.target - cam.eye
        forward = forward / np.linalg.norm(forward)
        focal = h / 2 / np.tan(np.radians(cam.fov) / 2)
        level = int(h / 2 + focal * np.tan(np.arcsin(forward[2])))
        tall = int(max(h, 0.5 * focal))
        full = cv2.resize(self.sky, (w, tall), interpolation=cv2.INTER_CUBIC)
        rows = np.clip(np.arange(h) - level + tall, 0, tall - 1)
        image[:] = full[rows]

    def _roadside(self, image: Image, cam: Camera, shift: float) -> None:
        """Ground, barriers, stands and trees, `shift` metres further back."""
        tiles = (-1, 0, 1, 2) if not self.loop else (0,)
        sides = sorted((0, 1), key=lambda n: -abs((-1, 1)[n] * self.barrier[n] - cam.eye[1]))
        along = vec(PERIOD, 0, 0)
        x0 = -PERIOD / 2 - shift
        extra = 25.0 if self.loop else 0.0
        order = sorted(tiles, key=lambda k: -abs(x0 + (k + 0.5) * PERIOD - cam.eye[0]))
        for k in (-3, -2, *order, 3):
            o = vec(x0 + k * PERIOD, 0, 0)
            for n in sides:
                s = (-1, 1)[n]
                y = s * (self.barrier[n] + extra * (np.sign(self.curve) == s or not self.loop))
                if (y - cam.eye[1]) * s < 0.5:
                    continue
                paste_plane(
                    image,
                    cam,
                    o + vec(0, y + s * 32, 16),
                    along,
                    vec(0, 0, -17),
                    self.trees[n],
                )
                if self.has_stand[n]:
                    paste_plane(
                        image,
                        cam,
                        o + vec(8, y + s * 16, 10.5),
                        along * 0.8,
                        vec(0, -s * 13, -8.5),
                        self.stands[n],
                    )
                    paste_plane(
                        image,
                        cam,
                        o + vec(6, y + s * 17, 13),
                        along * 0.83,
                        vec(0, -s * 12, -0.8),
                        tx.plain(4, 4, vec(0.3, 0.3, 0.3)),
                    )
        for k in (-3, *order, 3):
            o = vec(x0 + k * PERIOD, 45, 0)
            paste_plane(image, cam, o, along, vec(0, -90, 0), self.ground)
        for k in order:
            o = vec(x0 + k * PERIOD, 0, 0)
            for n in sides:
                s = (-1, 1)[n]
                y = s * (self.barrier[n] + extra * (np.sign(self.curve) == s or not self.loop))
                if (y - cam.eye[1]) * s < 0.5:
                    continue
                if self.fence is not None:
                    paste_plane(image, cam, o + vec(0, y, 3.6), along, vec(0, 0, -2.6), self.fence)
                if s > 0:
                    paste_plane(image, cam, o + vec(0, y, 1.1), along, vec(0, 0, -1.1), self.boards[n])
                else:  # seen from the other side, so that the words read the right way
                    paste_plane(
                        image,
                        cam,
                        o + vec(PERIOD, y, 1.1),
                        -along,
                        vec(0, 0, -1.1),
                        self.boards[n],
                    )
                rail = tx.plain(6, 6, self.armco)
                paste_plane(image, cam, o + vec(0, y - s * 0.2, 0.45), along, vec(0, 0, -0.45), rail)

    def _smear(self, image: Image, cam: Camera, h: int) -> None:
        """Motion blur of everything that stands still, along the direction it runs through the picture."""
        uv, depth = cam.project(np.array([[0.0, 6, 0.5], [1.0, 6, 0.5]]))
        if depth.min() < 0.2:
            return
        step = (uv[1] - uv[0]) * self.speed / 125
        length = float(np.clip(np.linalg.norm(step), 0, h / 9))
        if length < 2:
            image[:] = cv2.GaussianBlur(image, (0, 0), h / 500)
            return
        angle = float(np.arctan2(step[1], step[0]))
        size = int(length) | 1
        kernel = np.zeros((size, size), np.float32)
        c = (size - 1) / 2
        a = (round((c - c * np.cos(angle)) * 16), round((c - c * np.sin(angle)) * 16))
        b = (round((c + c * np.cos(angle)) * 16), round((c + c * np.sin(angle)) * 16))
        cv2.line(kernel, a, b, (1.0,), 1, cv2.LINE_AA, 4)
        image[:] = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
