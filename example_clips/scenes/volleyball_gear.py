"""Volleyball court, net and ball.

Court and net after the FIVB Official Volleyball Rules, rules 1 and 2: 18 m × 9 m, lines 5 cm, attack line 3 m
from the centre line, net 2.43 m (men) or 2.24 m (women) high, 1 m deep, 9.5 m long, antennas 0.8 m above it;
ball (rule 3) 65 to 67 cm round.
"""

from __future__ import annotations

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.camera import Array, Image, vec
from example_clips.scenes.mesh import Mesh, ellipsoid

LENGTH, WIDTH, LINE, ATTACK = 18.0, 9.0, 0.05, 3.0
NET_MEN, NET_WOMEN, NET_DEPTH, NET_LENGTH, ANTENNA = 2.43, 2.24, 1.0, 9.5, 0.8
BALL_RADIUS = 0.105


def court_texture(rng: np.random.Generator, ppm: int = 60) -> tuple[Image, tuple[float, float], bool]:
    """The floor seen from above (rows from +y to -y), its half sizes, and whether it is wood."""
    margin = rng.uniform(2.0, 3.5)
    half = (WIDTH / 2 + margin, LENGTH / 2 + margin)
    h, w = int(2 * half[1] * ppm), int(2 * half[0] * ppm)
    wood = bool(rng.random() < 0.62)
    if wood:
        colour = vec(0.42, 0.63, 0.82) * rng.uniform(0.8, 1.1)
        tex = tx.planks(rng, h, w, colour, 4, 90)
        inside = (
            colour * rng.uniform(0.9, 1.1)
            if rng.random() < 0.6
            else tx.pick(rng, [vec(0.25, 0.5, 0.85), vec(0.55, 0.35, 0.15)])
        )
        line = tx.pick(
            rng, [vec(0.95, 0.95, 0.95), vec(0.1, 0.1, 0.1), vec(0.6, 0.2, 0.05), vec(0.1, 0.1, 0.6)]
        )
    else:
        outer = tx.pick(
            rng,
            [
                vec(0.55, 0.4, 0.12),
                vec(0.3, 0.45, 0.15),
                vec(0.6, 0.3, 0.15),
                vec(0.15, 0.15, 0.5),
                vec(0.5, 0.25, 0.1),
            ],
        )
        tex = tx.plain(h, w, outer)
        inside = tx.pick(
            rng, [vec(0.25, 0.5, 0.88), vec(0.2, 0.42, 0.85), vec(0.35, 0.6, 0.85), vec(0.3, 0.35, 0.8)]
        )
        line = vec(0.95, 0.95, 0.95)

    def rect(x0: float, y0: float, x1: float, y1: float, colour: Array, alpha: float = 1.0) -> None:
        a = (int((x0 + half[0]) * ppm), int((half[1] - y1) * ppm))
        b = (max(int((x1 + half[0]) * ppm), a[0] + 1), max(int((half[1] - y0) * ppm), a[1] + 1))
        part = tex[a[1] : b[1], a[0] : b[0]]
        part += (colour.astype(np.float32) - part) * np.float32(alpha)

    wx, ly = WIDTH / 2, LENGTH / 2
    rect(-wx, -ly, wx, ly, inside, 0.55 if wood else 1.0)
    tex[:] = tx.speckle(rng, tex, 0.03, 0.01)
    if wood and rng.random() < 0.6:  # other games' lines
        other = tx.hsv(rng.random(), 0.7, 0.5)
        for _ in range(int(rng.integers(1, 4))):
            centre = (int(rng.uniform(0, w)), int(rng.choice([0, h / 2, h])))
            cv2.ellipse(
                tex, centre, (int(2.5 * ppm), int(2.5 * ppm)), 0, 0, 360, other.tolist(), 3, cv2.LINE_AA
            )
        x = rng.uniform(-wx, wx)
        rect(x, -half[1], x + LINE, half[1], other)
    for x in (-wx, wx - LINE):
        rect(x, -ly, x + LINE, ly, line)
    for y in (-ly, -ATTACK - LINE, -LINE / 2, ATTACK, ly - LINE):
        rect(-wx, y, wx, y + LINE, line)
    return cv2.GaussianBlur(tex, (0, 0), 0.8), half, wood


def net_texture(rng: np.random.Generator) -> Image:
    """One metre of net with white bands above and below, with alpha."""
    size = 200
    tex = np.zeros((size, size, 4), np.float32)
    tone = 0.06 if rng.random() < 0.75 else 0.8
    tex[..., :3] = tone
    step = size // 10
    for n in range(0, size, step):
        tex[n : n + 3, :, 3] = 0.85
        tex[:, n : n + 3, 3] = 0.85
    tex[:14] = (0.95, 0.95, 0.95, 1)
    tex[-10:] = (0.92, 0.92, 0.92, 1)
    return tex


def ball(at: Array, spin: float, colours: tuple[Array, Array, Array], detail: int) -> Mesh:
    """A volleyball with panels of three strips on six faces."""
    mesh, d = ellipsoid(vec(0, 0, 0), BALL_RADIUS * np.eye(3), detail, detail * 2 // 3)
    axis = np.argmax(np.abs(d), 1)
    along = np.take_along_axis(d, ((axis + 1) % 3)[:, None], 1)[:, 0] / np.abs(d).max(1)
    strip = np.clip(((along + 1) * 1.5).astype(int), 0, 2)
    tone = np.array([colours[0], colours[1], colours[2]])[(strip + axis) % 3]
    seam = np.abs((along + 1) * 1.5 - np.rint((along + 1) * 1.5)) < 0.07
    mesh.colours = tone * np.where(seam, 0.75, 1.0)[:, None]
    mesh.gloss = np.full(len(mesh.quads), 0.15)
    c, s = np.cos(spin), np.sin(spin)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    return mesh.moved(turn, at)
