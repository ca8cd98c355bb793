"""Indoor volleyball: two teams of six pass, set, spike and block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.body import person
from example_clips.scenes.camera import Array, Camera, Image, paste_plane, vec
from example_clips.scenes.figures import Kit, Pose, blend, keyed, random_kit, stride
from example_clips.scenes.hall import paint_hall, random_hall
from example_clips.scenes.mesh import Mesh, draw, limb, merge, reflection, shadow
from example_clips.scenes.volleyball_gear import (
    ANTENNA,
    NET_DEPTH,
    NET_LENGTH,
    NET_MEN,
    NET_WOMEN,
    WIDTH,
    ball,
    court_texture,
    net_texture,
)

GRAVITY = 9.81
CROWDING = 2.0
"""Metres from the eye within which a player would only be in the way."""
READY = Pose(
    pelvis=vec(0, 0, 0.74),
    lean=0.5,
    right=vec(0.5, -0.22, 0.85),
    left=vec(0.5, 0.22, 0.85),
    right_foot=vec(0.05, -0.36, 0),
    left_foot=vec(0.0, 0.36, 0),
)
STAND = Pose(pelvis=vec(0, 0, 0.88), lean=0.12, right=vec(0.28, -0.25, 1.3), left=vec(0.28, 0.25, 1.3))
DIG = Pose(
    pelvis=vec(0, 0, 0.66),
    lean=0.45,
    right=vec(0.62, -0.05, 0.85),
    left=vec(0.62, 0.05, 0.85),
    right_foot=vec(0.2, -0.4, 0),
    left_foot=vec(-0.15, 0.38, 0),
    left_tip=-0.3,
    nod=0.4,
)
SET = Pose(
    pelvis=vec(0, 0, 0.9),
    lean=-0.02,
    right=vec(0.16, -0.12, 2.02),
    left=vec(0.16, 0.12, 2.02),
    right_foot=vec(0.12, -0.14, 0.03),
    left_foot=vec(-0.12, 0.14, 0.03),
    nod=0.8,
    right_tip=-0.3,
    left_tip=-0.3,
)
COCK = Pose(
    pelvis=vec(0, 0, 0.95),
    lean=-0.3,
    twist=-0.9,
    right=vec(-0.35, -0.4, 1.75),
    left=vec(0.35, 0.1, 2.0),
    right_foot=vec(-0.4, -0.12, 0.35),
    left_foot=vec(-0.3, 0.12, 0.25),
    right_tip=-1.0,
    left_tip=-0.9,
    nod=0.5,
)
SPIKE = Pose(
    pelvis=vec(0, 0, 0.96),
    lean=0.15,
    twist=0.35,
    side=0.12,
    right=vec(0.3, -0.1, 2.1),
    left=vec(0.25, 0.3, 1.15),
    right_foot=vec(-0.2, -0.12, 0.2),
    left_foot=vec(-0.1, 0.12, 0.12),
    right_tip=-1.0,
    left_tip=-0.9,
    nod=0.2,
)
LAND = Pose(
    pelvis=vec(0, 0, 0.72),
    lean=0.5,
    twist=0.5,
    right=vec(0.4, 0.15, 0.75),
    left=vec(-0.1, 0.4, 1.1),
    right_foot=vec(0.1, -0.25, 0),
    left_foot=vec(-0.1, 0.25, 0),
)
BLOCK = Pose(
    pelvis=vec(0, 0, 0.95),
    lean=0.03,
    right=vec(0.22, -0.17, 2.13),
    left=vec(0.22, 0.17, 2.13),
    right_foot=vec(-0.12, -0.12, 0.1),
    left_foot=vec(-0.12, 0.12, 0.1),
    right_tip=-0.9,
    left_tip=-0.9,
)
CROUCH = Pose(
    pelvis=vec(0, 0, 0.66),
    lean=0.35,
    right=vec(0.2, -0.3, 1.25),
    left=vec(0.2, 0.3, 1.25),
    right_foot=vec(0, -0.2, 0),
    left_foot=vec(0, 0.2, 0),
)
PLACES = ((-3.0, 1.0), (0.0, 0.9), (3.0, 1.0), (-3.0, 6.2), (0.2, 7.0), (3.0, 6.2))
"""Where six players stand, x and distance from the net."""


@dataclass(frozen=True, slots=True)
class Touch:
    """Somebody plays the ball: when (s), who (0..11), the ground place, where the ball is, how."""

    time: float
    who: int
    at: Array
    ball: Array
    kind: str


class Scene:
    """A rally without end: dig, set, spike against a block, back and forth."""

    def __init__(self, rng: np.random.Generator, seconds: float, calm: bool = False) -> None:
        """Choose floor, teams, rally and viewpoint; `calm` keeps the view good for a clip."""
        self.women = bool(rng.random() < 0.55)
        self.top = NET_WOMEN if self.women else NET_MEN
        court, half, wood = court_texture(rng)
        self.hall = random_hall(rng, court, half, wood=wood, arena=0.45)
        self.hall.dim = max(self.hall.dim, 0.35)
        teams = [random_kit(rng, women=self.women) for _ in range(2)]
        pads = bool(rng.random() < 0.8)
        self.kits: list[Kit] = [random_kit(rng, teams[n // 6], self.women, pads) for n in range(12)]
        self.touches = self._rally(rng.spawn(1)[0], seconds + 8)
        self.net = net_texture(rng)
        self.post = tx.pick(
            rng,
            [
                vec(0.1, 0.1, 0.1),
                vec(0.6, 0.2, 0.1),
                vec(0.1, 0.1, 0.6),
                vec(0.6, 0.6, 0.6),
                vec(0.1, 0.7, 0.85),
            ],
        )
        white = vec(0.93, 0.93, 0.93)
        options = [
            (vec(0.15, 0.8, 0.95), vec(0.65, 0.25, 0.08), vec(0.15, 0.8, 0.95)),
            (white, white, white),
            (white, vec(0.55, 0.15, 0.08), white),
            (white, vec(0.12, 0.12, 0.7), vec(0.3, 0.5, 0.1)),
            (vec(0.15, 0.8, 0.95), vec(0.65, 0.25, 0.08), white),
        ]
        self.colours = options[int(rng.integers(len(options)))]
        self.view = str(
            rng.choice(["net", "behind", "broadcast", "side", "crop"], p=[0.28, 0.2, 0.1, 0.2, 0.22])
        )
        self.r = rng.uniform(-1, 1, 6)
        spikes = [
            t for t in self.touches if t.kind == "spike" and t.time > 1.5
        ]  # the rally outlasts the clip by several spikes
        self.start = rng.uniform(0.5, 3.0)
        if not calm and rng.random() < 0.8:
            picked = spikes[0] if rng.random() < 0.75 else self.touches[int(rng.integers(2, 5))]
            self.start = picked.time + rng.normal(-0.03, 0.1)
        self.polish = rng.uniform(0.05, 0.28) if wood else rng.uniform(0, 0.12)

    def _rally(self, rng: np.random.Generator, seconds: float) -> list[Touch]:
        out: list[Touch] = []
        t, side = 0.0, -1
        while t < seconds:
            off = 0 if side < 0 else 6
            digger = int(rng.choice([3, 4, 5]))
            place = vec(
                PLACES[digger][0] + rng.normal(0, 0.7), side * (PLACES[digger][1] - rng.uniform(0, 1.5))
            )
            out.append(Touch(t, off + digger, place, vec(place[0], place[1] - side * 0.5, 0.95), "dig"))
            t += rng.uniform(1.0, 1.3)
            middle = vec(rng.normal(0.5, 0.5), side * rng.uniform(0.8, 1.6))
            out.append(Touch(t, off + 1, middle, vec(middle[0], middle[1], 2.35), "set"))
            t += rng.uniform(0.95, 1.25)
            wing = int(rng.choice([0, 2]))
            x = PLACES[wing][0] + rng.normal(0, 0.4)
            out.append(
                Touch(t, off + wing, vec(x, side * 0.95), vec(x, side * 0.6, self.top + 0.55), "spike")
            )
            other = 6 - off
            blockers = [other + n for n in (1, wing)]
            for n, who in enumerate(blockers):
                bx = x + (0.45 if n else -0.35)
                out.append(Touch(t, who, vec(bx, -side * 0.45), vec(bx, 0, self.top), "block"))
            t += rng.uniform(0.55, 0.75)
            side = -side
        return out

    def _body(self, n: int, t: float, sides: int, spread: bool, ball_at: Array) -> Mesh:
        side = -1 if n < 6 else 1
        base = vec(PLACES[n % 6][0], side * PLACES[n % 6][1]) + 0.25 * vec(
            np.sin(0.9 * t + 2 * n), np.cos(0.7 * t + n)
        )
        keys: list[tuple[float, Array]] = [(-9.0, base)]
        near = [touch for touch in self.touches if touch.who == n and abs(touch.time - t) < 2.5]
        for touch in near:
            run_up = vec(touch.at[0] * 1.1, side * 3.2) if touch.kind == "spike" else base
            keys += [
                (touch.time - 2.2, base),
                (touch.time - 1.1, run_up),
                (touch.time - 0.15, touch.at),
                (touch.time + 0.3, touch.at),
                (touch.time + 1.3, base),
            ]
        keys = sorted([*keys, (1000000000.0, base)], key=lambda k: k[0])
        times = np.array([k[0] for k in keys])

        def where(x: float) -> Array:
            i = int(np.clip(np.searchsorted(times, x) - 1, 0, len(keys) - 2))
            s = float(np.clip((x - times[i]) / max(times[i + 1] - times[i], 0.05), 0, 1))
            if i == 0 or i == len(keys) - 2:
                s = 0.0 if i else 1.0
            s = s * s * (3 - 2 * s)
            return np.asarray(keys[i][1] * (1 - s) + keys[i + 1][1] * s)

        at = where(t) if near else base
        velocity = (where(t + 0.02) - where(t - 0.02)) / 0.04 if near else vec(0, 0)
        speed = float(np.linalg.norm(velocity))
        idle = STAND if n % 6 < 3 else READY
        pose = blend(idle, stride(1.6 * t + 0.37 * n, min(0.5, 0.14 * speed)), min(1.0, speed / 1.5))
        lift, square = 0.0, 0.0
        for touch in near:
            dt = t - touch.time
            if touch.kind == "spike" and abs(dt) < 1:
                pose = keyed(
                    [
                        (-0.75, pose),
                        (-0.42, CROUCH),
                        (-0.14, COCK),
                        (0.0, SPIKE),
                        (0.22, LAND),
                        (0.45, LAND),
                        (0.9, pose),
                    ],
                    dt,
                )
                lift = max(0.0, (0.62 if self.women else 0.7) * (1 - (dt / 0.36) ** 2))
                square = max(square, float(np.clip(2.5 * (1 - abs(dt)), 0, 1)))
            elif touch.kind == "block" and abs(dt) < 1:
                pose = keyed(
                    [
                        (-0.8, pose),
                        (-0.42, CROUCH),
                        (-0.12, BLOCK),
                        (0.16, BLOCK),
                        (0.42, CROUCH),
                        (0.9, pose),
                    ],
                    dt,
                )
                lift = max(0.0, 0.55 * (1 - ((dt - 0.03) / 0.36) ** 2))
                square = max(square, float(np.clip(2.5 * (1 - abs(dt)), 0, 1)))
            elif touch.kind in ("dig", "set") and abs(dt) < 0.8:
                top = DIG if touch.kind == "dig" else SET
                pose = keyed([(-0.6, pose), (-0.08, top), (0.15, top), (0.75, pose)], dt)
        ahead = -side * np.pi / 2
        to_ball = float(np.arctan2(ball_at[1] - at[1], ball_at[0] - at[0]))
        turn = to_ball - ahead
        yaw = ahead + 0.9 * float(np.sin(turn)) * (1 - square)
        pose = replace(pose, lift=lift)
        return person(self.kits[n], pose, at, yaw, sides, spread).mesh

    def _ball(self, t: float) -> Array:
        played = [x for x in self.touches if x.kind != "block"]
        i = min(max(n for n, x in enumerate(played) if x.time <= max(t, 0)), len(played) - 2)
        a, b = played[i], played[i + 1]
        span = b.time - a.time
        s = (t - a.time) / span
        height = 0.5 * GRAVITY * span**2 / 4 * 4 * s * (1 - s)
        return a.ball + (b.ball - a.ball) * s + vec(0, 0, height * (0.3 if a.kind == "spike" else 1.0))

    def camera(self, t: float, size: tuple[int, int]) -> Camera:
        """The view at time `t`."""
        r = self.r
        attacks = [x for x in self.touches if x.kind == "spike"]
        weights = np.array([np.exp(-((x.time - t) ** 2) / 1.2) + 1e-9 for x in attacks])
        spot = np.sum([w * x.ball for w, x in zip(weights, attacks, strict=True)], 0) / weights.sum()
        if self.view == "broadcast":
            eye = vec(16 + 2 * r[0], 2 * r[1], 5 + 1.5 * r[2])
            return Camera(eye, vec(0, spot[1] * 0.8 + r[3], 1.3), 32 + 6 * r[4], size)
        if self.view == "behind":
            side = 1 if r[5] > 0 else -1
            eye = vec(3.5 * r[0], side * (11.5 + 1.5 * r[1]), 2.3 + 0.9 * r[2])
            return Camera(eye, vec(spot[0] * 0.6, 0, 2.0), 30 + 6 * r[3], size, 0.02 * r[4])
        if self.view == "side":
            eye = vec(np.sign(r[0]) * (9.0 + abs(r[0])), 3.5 * r[1], 1.8 + 0.6 * r[2])
            return Camera(eye, vec(spot[0] * 0.7, spot[1] * 0.7, 2.0), 34 + 7 * r[3], size, 0.02 * r[4])
        angle = (np.pi / 2 if r[5] > 0 else -np.pi / 2) + 0.9 * r[0]
        reach = 8.5 + 1.5 * r[1]
        extent = (4.6 if self.view == "net" else 3.1) + 0.7 * r[3]
        eye = vec(spot[0], 0, 0) + reach * vec(np.cos(angle), np.sin(angle), 0) + vec(0, 0, 1.7 + 0.7 * r[2])
        centre = vec(spot[0], spot[1] * 0.4, self.top - (0.3 if self.view == "net" else 0.05))
        return Camera(eye, centre, float(np.degrees(2 * np.arctan(extent / 2 / reach))), size, 0.04 * r[4])

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        t = t + self.start
        h, w = image.shape[:2]
        cam = self.camera(t, (w, h))
        paint_hall(image, cam, self.hall, float(np.linalg.norm(cam.target - cam.eye)))
        light = self.hall.light
        close = cam.pixels_per_metre(cam.target) > 130
        at = self._ball(t)
        toward = cam.eye
        sides: dict[bool, list[Mesh]] = {True: [], False: []}
        for n in range(12):
            body = self._body(n, t, 14 if close else 9, close, at)
            if np.linalg.norm(body.vertices.mean(0) - cam.eye) > CROWDING:
                sides[(n >= 6) == (toward[1] > 0)].append(body)
        sides[(at[1] > 0) == (toward[1] > 0)].append(ball(at, 5 * t, self.colours, 24 if close else 15))
        everyone = merge(sides[True] + sides[False])
        shadow(image, cam, everyone, light, 0.35, w / 250)
        if self.polish > 0.05:
            reflection(image, cam, everyone, light, self.polish)
        draw(image, cam, merge(sides[False]), light)
        self._net(image, cam)
        draw(image, cam, merge(sides[True]), light)

    def _net(self, image: Image, cam: Camera) -> None:
        half, low = NET_LENGTH / 2, self.top - NET_DEPTH
        gear = [
            limb(
                vec(s * (half + 0.4), 0, 0),
                vec(s * (half + 0.4), 0, self.top + 0.1),
                [0.06, 0.06],
                self.post,
                10,
            )
            for s in (-1, 1)
        ]
        for s in (-1, 1):
            x = s * WIDTH / 2
            for n in range(9):
                z = low + n * (NET_DEPTH + ANTENNA) / 9
                tone = vec(0.1, 0.1, 0.85) if n % 2 else vec(0.95, 0.95, 0.95)
                gear.append(limb(vec(x, 0, z), vec(x, 0, z + 0.2), [0.012, 0.012], tone, 6, round_ends=False))
            gear.append(
                limb(
                    vec(x, 0, self.top),
                    vec(s * (half + 0.4), 0, self.top),
                    [0.006, 0.006],
                    vec(0.1, 0.1, 0.1),
                    5,
                )
            )
        draw(image, cam, merge(gear), self.hall.light)
        for x in np.arange(-half, half, 1.0):
            width = min(1.0, half - x)
            piece = self.net[:, : int(self.net.shape[1] * width)]
            paste_plane(image, cam, vec(x, 0, self.top), vec(width, 0, 0), vec(0, 0, -NET_DEPTH), piece)
