"""Badminton court, net, racket and shuttlecock.

Court and net after the BWF Laws of Badminton, law 1: 13.40 m × 6.10 m, lines 40 mm, singles side lines
0.46 m inside, short service line 1.98 m from the net, long service line for doubles 0.76 m from the back,
net 1.55 m high at the posts and 1.524 m in the middle, 0.76 m deep; racket (law 4) at most 0.68 m long.
"""

from __future__ import annotations

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.camera import Array, Image, unit, vec
from example_clips.scenes.mesh import Mesh, ellipsoid, frame_of, limb, loft, merge

LENGTH, WIDTH, LINE = 13.40, 6.10, 0.04
SINGLES, SHORT_SERVICE, LONG_SERVICE = 0.46, 1.98, 0.76
NET_TOP, NET_CENTRE, NET_DEPTH = 1.55, 1.524, 0.76
RACKET = 0.675


def court_texture(rng: np.random.Generator, ppm: int = 80) -> tuple[Image, tuple[float, float]]:
    """The painted court seen from above (rows from +y to -y) and its half sizes with the run-off."""
    margin = rng.uniform(0.6, 2.2)
    half = (WIDTH / 2 + margin, LENGTH / 2 + margin)
    h, w = int(2 * half[1] * ppm), int(2 * half[0] * ppm)
    green = [
        vec(0.30, 0.45, 0.10),
        vec(0.25, 0.50, 0.15),
        vec(0.38, 0.50, 0.16),
        vec(0.30, 0.38, 0.05),
        vec(0.2, 0.42, 0.2),
    ]
    mat = tx.pick(rng, green * 3 + [vec(0.55, 0.32, 0.10), vec(0.5, 0.25, 0.08), vec(0.45, 0.42, 0.4)])
    run_off = (
        mat * rng.uniform(0.75, 1.1)
        if rng.random() < 0.6
        else tx.pick(rng, [*green, vec(0.12, 0.12, 0.5), vec(0.5, 0.3, 0.15)])
    )
    tex = tx.plain(h, w, run_off)

    def rect(x0: float, y0: float, x1: float, y1: float, colour: Array) -> None:
        a = (int((x0 + half[0]) * ppm), int((half[1] - y1) * ppm))
        b = (int((x1 + half[0]) * ppm) - 1, int((half[1] - y0) * ppm) - 1)
        cv2.rectangle(tex, a, b, colour.tolist(), -1)

    wx, ly = WIDTH / 2, LENGTH / 2
    rect(-wx, -ly, wx, ly, mat)
    tex[:] = tx.speckle(rng, tex, 0.035, 0.012)
    white = vec(0.93, 0.93, 0.93) if rng.random() < 0.9 else vec(0.2, 0.85, 0.9)
    for x in (-wx, -wx + SINGLES, wx - SINGLES - LINE, wx - LINE):
        rect(x, -ly, x + LINE, ly, white)
    for y in (
        -ly,
        -ly + LONG_SERVICE,
        -SHORT_SERVICE - LINE,
        SHORT_SERVICE,
        ly - LONG_SERVICE - LINE,
        ly - LINE,
    ):
        rect(-wx, y, wx, y + LINE, white)
    for y0, y1 in ((SHORT_SERVICE, ly), (-ly, -SHORT_SERVICE)):
        rect(-LINE / 2, y0, LINE / 2, y1, white)
    return cv2.GaussianBlur(tex, (0, 0), 0.8), half


def net_texture(tape: float = 0.075, columns: int = 305) -> Image:
    """White tape over dark mesh, with alpha."""
    h, w = 76 * 2, columns * 4
    tex = np.zeros((h, w, 4), np.float32)
    tex[..., :3] = vec(0.10, 0.09, 0.10)
    tex[::4, :, 3] = 0.55
    tex[:, ::4, 3] = 0.55
    tex[..., 3] = np.maximum(tex[..., 3], 0.10)
    band = int(tape / NET_DEPTH * h)
    tex[:band] = (0.95, 0.95, 0.95, 1.0)
    return tex


def racket(hand: Array, direction: Array, face: Array, frame: Array, grip: Array) -> tuple[Mesh, Array]:
    """A racket held at `hand`, pointing along `direction`; returns it and the middle of its strings."""
    d = unit(direction)
    across, normal = frame_of(d, face)
    butt = hand - d * 0.08
    throat, centre = butt + d * (RACKET - 0.27), butt + d * (RACKET - 0.135)
    parts = [
        limb(butt, butt + d * 0.17, [0.016, 0.014, 0.014], grip, 8),
        limb(butt + d * 0.17, throat, [0.0055, 0.005], frame * 0.5, 6),
    ]
    th = np.linspace(0, 2 * np.pi, 33)[:-1]
    rim = centre + 0.135 * np.cos(th)[:, None] * d + 0.108 * np.sin(th)[:, None] * across
    out = unit(rim - centre)
    tube = np.linspace(0, 2 * np.pi, 5)[:-1]
    rings = rim[:, None] + 0.008 * (np.cos(tube)[:, None] * out[:, None] + np.sin(tube)[:, None] * normal)
    parts.append(loft(np.concatenate([rings, rings[:1]]), frame, 0.4, caps=False))
    string = vec(0.85, 0.85, 0.85)
    for s in np.linspace(-0.85, 0.85, 11):
        reach = np.sqrt(1 - s * s)
        for p, q in (
            (d * 0.135 * reach + across * 0.108 * s, d * -0.135 * reach + across * 0.108 * s),
            (across * 0.108 * reach + d * 0.135 * s, across * -0.108 * reach + d * 0.135 * s),
        ):
            parts.append(limb(centre + p, centre + q, [0.0011, 0.0011], string, 3, round_ends=False))
    return merge(parts), centre


def shuttle(at: Array, heading: Array, scale: float) -> Mesh:
    """A shuttlecock flying cork first along `heading`."""
    d = unit(heading)
    a, b = frame_of(d, vec(0, 0, 1))
    cork, local = ellipsoid(at, scale * 0.0135 * np.stack([a, b, d]), 10, 8)
    cork.colours = np.where((local[:, 2] < -0.1)[:, None], vec(0.2, 0.6, 0.2), vec(0.92, 0.95, 0.95))
    th = np.linspace(0, 2 * np.pi, 17)[:-1]
    circle = np.cos(th)[:, None] * a + np.sin(th)[:, None] * b
    flare = [(0.01, 0.012), (0.04, 0.02), (0.07, 0.033)]
    rings = np.array([at - scale * x * d + scale * r * circle for x, r in flare])
    tone = np.where((np.arange(16) % 2)[:, None] > 0, vec(0.97, 0.97, 0.97), vec(0.78, 0.78, 0.8))
    return merge([cork, loft(rings, np.repeat(tone[None], 2, 0), caps=False)])
