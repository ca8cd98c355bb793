"""Badminton: a rally between two or four players in a hall."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.badminton_gear import (
    NET_CENTRE,
    NET_DEPTH,
    NET_TOP,
    WIDTH,
    court_texture,
    net_texture,
    racket,
    shuttle,
)
from example_clips.scenes.body import Body, person
from example_clips.scenes.camera import Array, Camera, Image, paste_plane, vec
from example_clips.scenes.figures import Kit, Pose, blend, keyed, random_kit, stride
from example_clips.scenes.hall import Hall, paint_hall, random_hall
from example_clips.scenes.mesh import Mesh, draw, limb, merge, reflection, shadow

CROWDING = 2.0
"""Metres from the eye within which a player would only be in the way."""
READY = Pose(
    pelvis=vec(0, 0, 0.80),
    lean=0.42,
    right=vec(0.48, -0.22, 1.02),
    left=vec(0.38, 0.3, 1.05),
    right_foot=vec(0.12, -0.34, 0),
    left_foot=vec(-0.08, 0.34, 0),
    right_dir=vec(0.6, 0.3, 0.75),
)
WINDUP = Pose(
    pelvis=vec(0, 0, 0.90),
    lean=-0.18,
    side=0.1,
    twist=-1.0,
    right=vec(-0.25, -0.42, 1.55),
    left=vec(0.35, 0.1, 1.85),
    right_foot=vec(-0.38, -0.15, 0),
    left_foot=vec(0.28, 0.12, 0),
    right_dir=vec(-0.6, 0.3, 0.6),
    nod=0.5,
)
SMASH = Pose(
    pelvis=vec(0, 0, 0.96),
    lean=0.08,
    side=0.15,
    twist=0.35,
    right=vec(0.25, -0.2, 2.1),
    left=vec(0.15, 0.35, 1.15),
    right_foot=vec(-0.35, -0.12, 0.16),
    left_foot=vec(0.12, 0.12, 0.05),
    right_dir=vec(0.35, 0.05, 1.0),
    right_tip=-0.8,
    left_tip=-0.5,
    nod=0.3,
)
FOLLOW = Pose(
    pelvis=vec(0.1, 0, 0.85),
    lean=0.55,
    twist=0.8,
    right=vec(0.55, 0.3, 0.85),
    left=vec(-0.25, 0.35, 1.15),
    right_foot=vec(0.4, -0.14, 0),
    left_foot=vec(-0.4, 0.14, 0.03),
    right_dir=vec(0.3, 0.7, -0.7),
    left_tip=-0.6,
)
LUNGE = Pose(
    pelvis=vec(0.1, 0, 0.60),
    lean=0.38,
    right=vec(0.85, -0.25, 0.95),
    left=vec(-0.55, 0.35, 1.25),
    right_foot=vec(0.72, -0.16, 0),
    left_foot=vec(-0.72, 0.2, 0.02),
    right_dir=vec(0.85, -0.1, 0.3),
    right_tip=0.1,
    left_tip=-0.6,
)
REACH = Pose(
    pelvis=vec(0, -0.1, 0.66),
    lean=0.3,
    side=-0.4,
    twist=0.1,
    right=vec(0.3, -0.95, 1.0),
    left=vec(-0.15, 0.6, 1.3),
    right_foot=vec(0.1, -0.8, 0),
    left_foot=vec(-0.1, 0.55, 0),
    right_dir=vec(0.25, -0.85, 0.35),
    left_tip=-0.3,
)
BACKHAND = Pose(
    pelvis=vec(0.05, 0, 0.72),
    lean=0.35,
    twist=0.7,
    right=vec(0.55, 0.45, 1.1),
    left=vec(-0.3, 0.35, 1.05),
    right_foot=vec(0.55, 0.25, 0),
    left_foot=vec(-0.5, 0.25, 0),
    right_dir=vec(0.5, 0.7, 0.4),
)
SHOTS = {"smash": SMASH, "lunge": LUNGE, "reach": REACH, "backhand": BACKHAND}


@dataclass(slots=True)
class Player:
    """One player: kit, side of the net (-1 or +1 in y), the place to return to, the racket's colour."""

    kit: Kit
    side: int
    base: Array
    racket: Array


@dataclass(frozen=True, slots=True)
class Hit:
    """Somebody meets the shuttle: when (s), who, from where, how."""

    time: float
    who: int
    at: Array
    shot: str
    lift: float


class Scene:
    """A rally that goes on for as long as it is asked to; `start` is where in it time 0 lies."""

    def __init__(self, rng: np.random.Generator, seconds: float, calm: bool = False) -> None:
        """Choose court, players, rally and viewpoint; `calm` keeps the camera and light good for a clip."""
        women = rng.random() < 0.4
        court, half = court_texture(rng)
        self.hall: Hall = random_hall(rng, court, half, wood=rng.random() < 0.4, arena=0.6)
        doubles = rng.random() < (0.3 if calm else 0.4)
        first, second = random_kit(rng, women=women), random_kit(rng, women=women)
        self.players: list[Player] = []
        for side, kit in ((-1, first), (1, second)):
            for n in range(2 if doubles else 1):
                x = 0.0 if not doubles else (-1.3, 1.3)[n]
                y = side * (3.6 if not doubles else (3.2, 4.2)[n])
                tone = tx.hsv(rng.random(), rng.uniform(0, 0.9), rng.uniform(0.3, 0.95))
                self.players.append(
                    Player(random_kit(rng, kit, women, numbered=False), side, vec(x, y), tone)
                )
        self.hits = self._rally(rng.spawn(1)[0], seconds + 6)
        self.start = rng.uniform(1.5, 3.0)
        self.net = net_texture()
        self.post = tx.pick(
            rng, [vec(0.1, 0.1, 0.1), vec(0.7, 0.3, 0.1), vec(0.1, 0.7, 0.9), vec(0.8, 0.8, 0.8)]
        )
        self.view = str(
            rng.choice(["broadcast", "side", "portrait", "front", "corner"], p=[0.17, 0.17, 0.44, 0.14, 0.08])
        )
        self.rng_view = rng.uniform(-1, 1, 6)
        self.subject = int(rng.integers(len(self.players)))
        if not calm and rng.random() < 0.7:
            own = [h for h in self.hits if h.who == self.subject and 1.5 < h.time < seconds + 4.5]
            if own:
                self.start = own[0].time + rng.normal(-0.05, 0.12)
        self.polish = rng.uniform(0, 0.22)
        self.shuttle_scale = rng.uniform(1.2, 1.9)

    def _rally(self, rng: np.random.Generator, seconds: float) -> list[Hit]:
        hits, t, side = [], 0.0, -1
        while t < seconds:
            team = [n for n, p in enumerate(self.players) if p.side == side]
            who = int(rng.choice(team))
            shot = str(rng.choice(["smash", "lunge", "reach", "backhand"], p=[0.42, 0.24, 0.2, 0.14]))
            depth = {"smash": rng.uniform(3.5, 5.8), "lunge": rng.uniform(1.8, 2.8)}.get(
                shot, rng.uniform(3.0, 5.0)
            )
            x = float(np.clip(self.players[who].base[0] + rng.normal(0, 1.0), -2.4, 2.4))
            hits.append(
                Hit(t, who, vec(x, side * depth), shot, rng.uniform(0.05, 0.45) if shot == "smash" else 0.0)
            )
            t += rng.uniform(0.95, 1.3)
            side = -side
        return hits

    def _place(self, n: int, t: float) -> tuple[Array, Array]:
        """Ground position and velocity of player `n`."""
        keys: list[tuple[float, Array]] = [(-2.0, self.players[n].base)]
        for hit in self.hits:
            if hit.who == n:
                keys += [(hit.time - 0.12, hit.at), (hit.time + 0.15, hit.at)]
                keys.append((hit.time + 0.95, hit.at * 0.35 + self.players[n].base * 0.65))
        keys.sort(key=lambda k: k[0])
        times = np.array([k[0] for k in keys])

        def where(x: float) -> Array:
            i = int(np.clip(np.searchsorted(times, x) - 1, 0, len(keys) - 2))
            s = np.clip((x - times[i]) / max(times[i + 1] - times[i], 0.05), 0, 1)
            s = s * s * (3 - 2 * s)
            return np.asarray(keys[i][1] * (1 - s) + keys[i + 1][1] * s)

        return where(t), (where(t + 0.02) - where(t - 0.02)) / 0.04

    def _body(self, n: int, t: float, sides: int) -> tuple[Mesh, Array, Body]:
        player = self.players[n]
        at, velocity = self._place(n, t)
        facing = np.pi / 2 if player.side < 0 else -np.pi / 2
        speed = float(np.linalg.norm(velocity))
        pose = READY
        if speed > 0.2:
            run = stride(t * 1.7 + n * 0.3, min(0.45, 0.13 * speed))
            mix = blend(READY, run, min(1.0, speed / 2.0))
            pose = replace(mix, right_dir=READY.right_dir, right=READY.right * 0.7 + mix.right * 0.3)
        bob = 0.03 * abs(np.sin(4.5 * t + n))
        lift, turn = 0.0, 0.0
        for hit in self.hits:
            if hit.who == n and abs(t - hit.time) < 0.75:
                top = SHOTS[hit.shot]
                before = WINDUP if hit.shot == "smash" else blend(READY, top, 0.35)
                after = FOLLOW if hit.shot == "smash" else blend(top, READY, 0.4)
                pose = keyed(
                    [(-0.6, pose), (-0.24, before), (-0.02, top), (0.2, after), (0.7, pose)], t - hit.time
                )
                lift = max(0.0, hit.lift * (1 - ((t - hit.time + 0.03) / 0.26) ** 2)) if hit.lift else 0.0
                near = float(np.clip(2 - abs(t - hit.time) / 0.375, 0, 1))
                turn = 0.35 * np.sign(hit.at[0]) * player.side * (1 if hit.shot == "lunge" else 0.3) * near
                bob *= 1 - near
        pose = replace(pose, lift=lift, pelvis=pose.pelvis - vec(0, 0, bob))
        body = person(player.kit, pose, at, facing - turn, sides)
        gear, centre = racket(
            body.right_hand,
            body.right_dir,
            vec(np.cos(facing + 1.2), np.sin(facing + 1.2), 0.2),
            player.racket,
            vec(0.85, 0.85, 0.85),
        )
        return merge([body.mesh, gear]), centre, body

    def _shuttle(self, t: float) -> tuple[Array, Array]:
        i = max(n for n, h in enumerate(self.hits) if h.time <= max(t, 0))
        i = min(i, len(self.hits) - 2)
        a, b = self.hits[i], self.hits[i + 1]
        start = self._body(a.who, a.time, 6)[1]
        end = self._body(b.who, b.time, 6)[1]
        height = 0.5 if a.shot == "smash" and start[2] > 2 else 2.2 if end[2] > 1.9 else 1.3

        def where(s: float) -> Array:
            e = 1 - max(1 - s, 0.0) ** 1.7
            return np.asarray(start + (end - start) * e + vec(0, 0, height * 4 * e * (1 - e)))

        s = (t - a.time) / (b.time - a.time)
        return where(s), where(min(s + 0.02, 1.0)) - where(s - 0.02)

    def camera(self, t: float, size: tuple[int, int]) -> Camera:
        """The view at time `t` (of the scene) for a picture of `size`."""
        r = self.rng_view
        wide = size[0] / size[1]
        if self.view == "broadcast":
            eye = vec(1.5 * r[0], -(14 + 3 * r[1]), 6 + 2.0 * r[2])
            return Camera(
                eye,
                vec(0.3 * r[3], -0.6 + r[4] * 0.6, 0.6),
                (36 + 6 * r[5]) * (1.2 if wide < 1.2 else 1),
                size,
            )
        if self.view == "corner":
            eye = vec(np.sign(r[0]) * (6 + abs(r[0])), -(9 + 2 * r[1]), 3.2 + 1.4 * r[2])
            return Camera(eye, vec(0, 0.5 * r[3], 0.8), 42 + 7 * r[4], size, 0.02 * r[5])
        times = np.linspace(t - 0.6, t + 0.6, 9)
        mean = np.mean([self._place(self.subject, x)[0] for x in times], 0)
        side = self.players[self.subject].side
        rise = sum(
            0.35 * np.exp(-((h.time - t) ** 2) / 0.5)
            for h in self.hits
            if h.who == self.subject and h.shot == "smash"
        )
        focus = vec(mean[0], mean[1], 1.15 + 0.15 * r[3] + rise)
        if self.view == "side":
            eye = vec(np.sign(r[0]) * (6.5 + 2 * abs(r[0])), side * (1.5 + 2.5 * r[1]), 1.5 + 0.7 * r[2])
        elif self.view == "front":
            eye = vec(2.5 * r[0], -side * (8.5 + 2 * r[1]), 1.9 + 0.8 * r[2])
        else:
            angle = side * (-np.pi / 2) + 1.1 * r[0]
            eye = (
                vec(mean[0] * 0.6, mean[1], 0)
                + 6.5 * vec(np.cos(angle), np.sin(angle), 0)
                + vec(0, 0, 1.4 + 0.7 * r[1])
            )
        gap = float(np.linalg.norm(eye - focus))
        extent = {"side": 3.6, "front": 3.8}.get(self.view, 3.0) * (1 + 0.22 * r[4])
        return Camera(eye, focus, float(np.degrees(2 * np.arctan(extent / 2 / gap))), size, 0.03 * r[5])

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR)."""
        t = t + self.start
        h, w = image.shape[:2]
        cam = self.camera(t, (w, h))
        focus = float(np.linalg.norm(cam.target - cam.eye))
        paint_hall(image, cam, self.hall, focus)
        light = self.hall.light
        sides = 10 if cam.pixels_per_metre(cam.target) < 200 else 16
        near: list[Mesh] = []
        far: list[Mesh] = []
        for n, player in enumerate(self.players):
            mesh = self._body(n, t, sides)[0]
            if np.linalg.norm(mesh.vertices.mean(0) - cam.eye) < CROWDING:
                continue
            (near if player.side * np.sign(cam.eye[1]) > 0 else far).append(mesh)
        at, heading = self._shuttle(t)
        (near if at[1] * cam.eye[1] > 0 else far).append(shuttle(at, heading, self.shuttle_scale))
        everyone = merge(near + far)
        shadow(image, cam, everyone, light, 0.42, w / 320)
        if self.polish > 0.05:
            reflection(image, cam, everyone, light, self.polish)
        if far:
            draw(image, cam, merge(far), light)
        self._net(image, cam)
        if near:
            draw(image, cam, merge(near), light)

    def _net(self, image: Image, cam: Camera) -> None:
        half = WIDTH / 2
        posts = [
            limb(vec(s * half, 0, 0), vec(s * half, 0, NET_TOP), [0.03, 0.03], self.post, 8) for s in (-1, 1)
        ]
        draw(image, cam, merge(posts), self.hall.light)
        steps = np.linspace(-half, half, 7)
        tops = NET_CENTRE + (NET_TOP - NET_CENTRE) * (steps / half) ** 2
        piece = np.ascontiguousarray(self.net[:, : self.net.shape[1] // 6])
        for a, b, top, end in zip(steps[:-1], steps[1:], tops[:-1], tops[1:], strict=True):
            paste_plane(image, cam, vec(a, 0, top), vec(b - a, 0, end - top), vec(0, 0, -NET_DEPTH), piece)
