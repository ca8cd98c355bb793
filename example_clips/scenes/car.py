"""A formula 1 car in solids, after the size limits of the FIA technical regulations from 2022 on.

About 5.6 m long, 2.0 m wide, wheelbase 3.6 m, 18-inch wheels with tyres 0.72 m high, 0.305 m wide in front
and 0.405 m behind. Origin on the ground in the middle of the wheelbase, x forward.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from example_clips.scenes.camera import Array, unit, vec
from example_clips.scenes.mesh import Mesh, box, ellipsoid, limb, loft, merge, sheet
from example_clips.scenes.texture import WORDS, hsv

AXLE, WIDTH, TYRE_RADIUS, FRONT_TYRE, REAR_TYRE = 1.80, 2.00, 0.36, 0.305, 0.405
CARBON = vec(0.045, 0.045, 0.045)
CHASSIS = (
    (2.82, 0, 0.26, 0.07, 0.03),
    (2.6, 0, 0.30, 0.11, 0.06),
    (2.1, 0, 0.38, 0.14, 0.09),
    (1.7, 0, 0.44, 0.18, 0.13),
    (1.2, 0, 0.46, 0.24, 0.18),
    (0.8, 0, 0.45, 0.30, 0.22),
    (0.4, 0, 0.42, 0.36, 0.24),
    (-0.4, 0, 0.40, 0.38, 0.26),
    (-0.9, 0, 0.40, 0.34, 0.26),
)
COVER = (
    (-0.28, 0, 0.80, 0.10, 0.16),
    (-0.40, 0, 0.76, 0.14, 0.22),
    (-0.8, 0, 0.66, 0.17, 0.26),
    (-1.3, 0, 0.57, 0.16, 0.24),
    (-1.8, 0, 0.50, 0.12, 0.18),
    (-2.25, 0, 0.44, 0.07, 0.10),
)
POD = (
    (0.50, 0.58, 0.42, 0.20, 0.16),
    (0.35, 0.58, 0.42, 0.25, 0.19),
    (-0.2, 0.56, 0.40, 0.27, 0.20),
    (-0.8, 0.50, 0.36, 0.25, 0.18),
    (-1.3, 0.38, 0.30, 0.20, 0.14),
    (-1.9, 0.24, 0.24, 0.12, 0.09),
)
"""Nose and tub, engine cover, left side pod: x, y, z of the middle, half width, half height."""
HALO = (
    (0.50, 0.0, 0.865),
    (0.42, 0.16, 0.87),
    (0.25, 0.28, 0.86),
    (0.0, 0.345, 0.83),
    (-0.3, 0.36, 0.74),
    (-0.45, 0.34, 0.62),
)
FRONT_PLATE = ((2.72, 0.975, 0.08), (2.1, 0.985, 0.08), (2.1, 0.97, 0.38), (2.45, 0.975, 0.36))
REAR_PLATE = (
    (-2.15, 0.50, 0.93),
    (-2.20, 0.50, 0.62),
    (-2.35, 0.46, 0.38),
    (-2.62, 0.46, 0.38),
    (-2.72, 0.50, 0.65),
    (-2.72, 0.50, 1.02),
)
"""Left endplates."""
CHALK = vec(0.92, 0.92, 0.92)
ALONG, ACROSS, UP = vec(1, 0, 0), vec(0, 1, 0), vec(0, 0, 1)
Stations = Sequence[tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Livery:
    """Main, second and accent colour, helmet, tyre band, the number and two sponsors."""

    main: Array
    second: Array
    accent: Array
    helmet: Array
    band: Array
    number: str
    sponsors: tuple[str, str]


def random_livery(rng: np.random.Generator) -> Livery:
    """A team that does not exist."""
    hue = rng.random()
    style = rng.random()
    main = (
        vec(0.06, 0.05, 0.6 + 0.2 * rng.random())
        if style < 0.25
        else vec(0.75, 0.75, 0.75)
        if style < 0.38
        else vec(0.07, 0.06, 0.06)
        if style < 0.48
        else vec(0.05, 0.4, 0.9)
        if style < 0.6
        else hsv(hue, rng.uniform(0.6, 0.95), rng.uniform(0.2, 0.7))
    )
    second = (
        vec(0.8, 0.8, 0.8)
        if rng.random() < 0.35
        else vec(0.06, 0.06, 0.06)
        if rng.random() < 0.5
        else hsv(hue + rng.uniform(0.3, 0.7), 0.8, 0.65)
    )
    bands = (vec(0.1, 0.1, 0.85), vec(0.1, 0.8, 0.9), vec(0.85, 0.85, 0.85))
    return Livery(
        main,
        second,
        hsv(rng.random(), 0.8, 0.75),
        hsv(rng.random(), 0.8, 0.75),
        bands[int(rng.integers(3))],
        str(int(rng.integers(1, 99))),
        (str(rng.choice(WORDS)), str(rng.choice(WORDS))),
    )


def lettering(word: str, centre: Array, across: Array, up: Array, width: float, colour: Array) -> Mesh:
    """A word of little quads around `centre`; `across` and `up` are unit vectors, `width` in metres."""
    (tw, th), base = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 0.6, 1)
    mask = np.zeros((th + base + 4, tw + 4), np.uint8)
    cv2.putText(mask, word, (2, th + 2), cv2.FONT_HERSHEY_DUPLEX, 0.6, (255,), 2)
    k = width / mask.shape[1]
    parts = []
    for y in range(0, mask.shape[0] - 1, 2):
        on = np.flatnonzero(np.diff(np.concatenate([[0], (mask[y] > 127).astype(np.int8), [0]])))
        for a, b in zip(on[::2], on[1::2], strict=True):
            o = centre + across * (a - mask.shape[1] / 2) * k + up * (mask.shape[0] / 2 - y) * k
            parts.append(sheet(o, across * (b - a) * k, up * 2 * k, colour, 0.2))
    return merge(parts) if parts else sheet(centre, across * 1e-3, up * 1e-3, colour)


def tube_body(
    stations: Stations, colours: Array, power: float = 2.6, gloss: float = 0.8, sides: int = 20
) -> Mesh:
    """A loft along x over (x, y centre, z centre, half width, half height) super-ellipses."""
    th = np.linspace(0, 2 * np.pi, sides, endpoint=False) + np.pi / sides
    c = np.sign(np.cos(th)) * np.abs(np.cos(th)) ** (2 / power)
    s = np.sign(np.sin(th)) * np.abs(np.sin(th)) ** (2 / power)
    rings = np.array([np.stack([np.full(sides, x), y + w * c, z + h * s], -1) for x, y, z, w, h in stations])
    return loft(rings, colours, gloss)


def densify(stations: Stations, n: int) -> list[tuple[float, ...]]:
    """`n` stations by smooth interpolation."""
    a = np.array(stations)
    t = np.linspace(0, len(a) - 1, n)
    i = np.clip(t.astype(int), 0, len(a) - 2)
    f = (t - i)[:, None]
    return [tuple(row) for row in a[i] * (1 - f) + a[i + 1] * f]


def wheel(x: float, y: float, width: float, spin: float, steer: float, livery: Livery) -> Mesh:
    """A wheel with sidewall ring and spokes, its outer side away from y = 0."""
    n = 30
    th = np.linspace(0, 2 * np.pi, n, endpoint=False) + spin
    out = np.sign(y)
    r = TYRE_RADIUS
    profile = [
        (-0.5, 0.20),
        (-0.5, 0.62),
        (-0.5, 0.88),
        (-0.46, 0.97),
        (-0.35, 1.0),
        (0.35, 1.0),
        (0.46, 0.97),
        (0.5, 0.90),
        (0.505, 0.82),
        (0.505, 0.77),
        (0.5, 0.66),
        (0.44, 0.63),
        (0.40, 0.25),
        (0.42, 0.0),
    ]
    rings = np.array(
        [
            np.stack([r * k * np.cos(th), np.full(n, out * w * width), r * k * np.sin(th)], -1)
            for w, k in profile
        ]
    )
    rubber, rim = vec(0.055, 0.055, 0.058), vec(0.06, 0.06, 0.065)
    rows = np.repeat(
        np.array(
            [
                CARBON,
                rubber,
                rubber,
                rubber,
                rubber * 1.1,
                rubber,
                rubber,
                rubber,
                livery.band,
                rubber,
                rim * 2.5,
                rim,
                rim,
            ]
        )[:, None],
        n,
        1,
    )
    spokes = (np.arange(n) % 5) < 2
    rows[11][spokes] = rim * 3.2
    rows[12] = vec(0.25, 0.25, 0.28)
    gap = (np.arange(n) % 15) < 4
    rows[8][gap] = rubber
    mesh = loft(rings, rows, 0.12, caps=False)
    c, s = np.cos(steer), np.sin(steer)
    return mesh.moved(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), vec(x, y, r))


def formula_body(livery: Livery) -> Mesh:
    """The car with its driver, without its wheels."""
    parts = [*_hull(livery), *_cockpit(livery), *_front_wing(livery), *_rear_wing(livery)]
    return merge([*parts, *_flank(livery, -1), *_flank(livery, 1)])


def wheels(livery: Livery, spin: float, steer: float) -> Mesh:
    """All four wheels; `spin` of all and `steer` of the front ones in radians."""
    parts = []
    for side in (-1, 1):
        parts.append(wheel(AXLE, side * (WIDTH - FRONT_TYRE) / 2, FRONT_TYRE, spin, steer, livery))
        parts.append(wheel(-AXLE, side * (WIDTH - REAR_TYRE) / 2, REAR_TYRE, spin, 0, livery))
    return merge(parts)


def two_tone(stations: Stations, livery: Livery, cut: float, sides: int = 20) -> Array:
    """The main colour, and the second below a line that climbs to the back."""
    th = np.linspace(0, 2 * np.pi, sides, endpoint=False) + 2 * np.pi / sides
    x = np.array([s[0] for s in stations])[:-1]
    low = np.sin(th)[None] < -cut + 0.3 * np.sin(1.4 * x)[:, None]
    return np.where(low[..., None], livery.second, livery.main)


def slab(outline: Sequence[tuple[float, float, float]], side: int, thick: float, colour: Array) -> Mesh:
    """A thin upright plate with the given outline, mirrored to the right for `side` -1."""
    flat = np.array(outline)
    layers = np.stack([flat, flat + vec(0, thick, 0)]) * vec(1, side, 1)
    return loft(layers, colour, 0.6)


def _hull(livery: Livery) -> list[Mesh]:
    """Nose, tub, engine cover with its inlet and fin, floor."""
    chassis, cover = densify(CHASSIS, 34), densify(COVER, 22)
    colours = two_tone(chassis, livery, 0.3)
    colours[:4] = livery.accent if livery.accent.sum() > 0.6 else livery.second
    fin = ((-0.6, -0.012, 0.92), (-2.1, -0.012, 0.80), (-2.2, -0.012, 0.5), (-0.6, -0.012, 0.6))
    inlet = ((-0.262, 0, 0.83, 0.085, 0.10), (-0.27, 0, 0.83, 0.08, 0.095))
    return [
        tube_body(chassis, colours),
        tube_body(cover, two_tone(cover, livery, 0.7)),
        slab(fin, 1, 0.024, livery.main),
        tube_body(inlet, CARBON * 0.5, gloss=0.0),
        box(vec(-2.0, -0.72, 0.05), vec(0.95, 0.72, 0.08), CARBON, 0.1, 6),
        box(vec(0.9, -0.16, 0.07), vec(2.0, 0.16, 0.10), CARBON, 0.1, 3),
        lettering(livery.number, vec(1.75, 0, 0.60), ACROSS, unit(vec(-1, 0, 0.25)), 0.22, CHALK),
    ]


def _flank(livery: Livery, side: int) -> list[Mesh]:
    """One side: pod with inlet and sponsor, mirror, floor edge, half the halo, suspension."""
    pod = densify([(x, side * y, z, w, h) for x, y, z, w, h in POD], 22)
    inlet = ((0.512, side * 0.58, 0.43, 0.17, 0.12), (0.505, side * 0.58, 0.43, 0.17, 0.12))
    ink = 1 - np.round(livery.main.mean()) * vec(0.9, 0.9, 0.9)
    hoop = CARBON * 1.5 if livery.second.mean() < 0.4 else livery.second
    parts = [
        tube_body(pod, two_tone(pod, livery, 0.3), 3.2),
        tube_body(inlet, CARBON * 0.4, 3.2, 0.0),
        lettering(livery.sponsors[0], vec(-0.15, side * 0.838, 0.42), -side * ALONG, UP, 0.85, ink),
        lettering(livery.number, vec(-1.0, side * 0.182, 0.70), -side * ALONG, UP, 0.28, CHALK),
        box(vec(0.36, side * 0.50 - 0.09, 0.66), vec(0.46, side * 0.50 + 0.09, 0.73), livery.main, 0.6),
        limb(vec(0.41, side * 0.33, 0.60), vec(0.41, side * 0.45, 0.68), [0.012, 0.012], CARBON, 6),
        box(vec(-1.9, side * 0.74 - 0.02, 0.06), vec(0.9, side * 0.74 + 0.02, 0.15), CARBON, 0.3, 4),
    ]
    for p, q in itertools.pairwise(np.array(HALO) * vec(1, side, 1)):
        parts.append(limb(p, q, [0.033, 0.033], hoop, 8, gloss=0.5))
    for x, inner, outer in ((AXLE, 0.19, 0.72), (-AXLE, 0.12, 0.66)):
        for dx, (z0, z1) in itertools.product((-0.28, 0.28), ((0.46, 0.46), (0.30, 0.24))):
            arm = vec(x + dx, side * inner, z0), vec(x, side * outer, z1)
            parts.append(limb(*arm, [0.013, 0.013], CARBON, 6))
    return parts


def _cockpit(livery: Livery) -> list[Mesh]:
    """The opening, the driver's shoulders and helmet, the halo's strut, the camera on top."""
    th = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rim = np.stack([0.12 + 0.44 * np.cos(th), 0.26 * np.sin(th), np.full(20, 0.672)], -1)
    inner = rim * vec(0.9, 0.85, 1.0) + vec(0.01, 0, 0.005)
    head, local = ellipsoid(vec(-0.02, 0, 0.80), np.diag([0.14, 0.118, 0.135]), 20, 14)
    tones = np.repeat(livery.helmet[None], len(local), 0)
    tones[(local[:, 0] > 0.35) & (np.abs(local[:, 2] - 0.05) < 0.28)] = vec(0.05, 0.05, 0.06)  # visor
    tones[(local[:, 2] > 0.75) | (local[:, 2] < -0.5)] = livery.second
    head.colours, head.gloss = tones, np.full(len(tones), 0.9)
    parts = [loft(np.stack([rim, inner]), CARBON, 0.2), head]
    for side in (-1, 1):
        shoulder = vec(-0.12, side * 0.10, 0.64), vec(-0.1, side * 0.24, 0.60)
        parts.append(limb(*shoulder, [0.09, 0.07], livery.main * 0.8, 10))
    parts.append(limb(vec(0.72, 0, 0.62), vec(0.50, 0, 0.865), [0.022, 0.03], CARBON * 1.5, 8, gloss=0.4))
    parts.append(box(vec(-0.34, -0.05, 0.98), vec(-0.24, 0.05, 1.05), livery.band, 0.3))
    return parts


def _front_wing(livery: Livery) -> list[Mesh]:
    """Four elements, each behind and above the last, swept up to the endplates."""
    parts = []
    y = np.linspace(-0.97, 0.97, 15)
    a = np.abs(y) / 0.97
    for n, colour in enumerate((CARBON * 1.4, livery.second, livery.main, livery.accent)):
        lead = np.stack([2.92 - 0.17 * n - 0.30 * a**2, y, 0.12 + 0.055 * n + 0.06 * a * (n > 0)], -1)
        trail = lead + vec(-0.16, 0, 0.055)
        under = vec(0, 0, 0.012)
        skin = np.stack([lead, trail, trail - under, lead - under])
        parts.append(loft(skin, colour, 0.6, closed=False, caps=False))
    for side in (-1, 1):
        pylon = vec(2.7, side * 0.09, 0.28), vec(2.62, side * 0.10, 0.16)
        parts += [slab(FRONT_PLATE, side, 0.014, livery.second), limb(*pylon, [0.02, 0.02], CARBON, 6)]
    return parts


def _rear_wing(livery: Livery) -> list[Mesh]:
    """Main plane and flap between endplates, beam wing, pylon, diffuser and light."""
    y = np.linspace(-0.50, 0.50, 9)
    sponsor = livery.sponsors[1]
    parts = []
    for x, z, chord, rise, colour in (
        (-2.30, 0.84, 0.26, 0.06, CARBON * 1.5),
        (-2.53, 0.91, 0.17, 0.10, livery.main),
    ):
        lead = np.stack([np.full(9, x), y, np.full(9, z)], -1)
        trail = lead + vec(-chord, 0, rise)
        skin = np.stack([lead, (lead + trail) / 2 - vec(0, 0, 0.02), trail])
        parts.append(loft(skin, colour, 0.6, closed=False, caps=False))
    parts += [slab(REAR_PLATE, side, 0.012, livery.second) for side in (-1, 1)]
    parts += [
        lettering(sponsor, vec(-2.50, 0, 0.945), ACROSS, unit(vec(-0.5, 0, 1)), 0.8, CHALK),
        lettering(sponsor, vec(-2.71, 0, 0.945), -ACROSS, unit(vec(-0.3, 0, 1)), 0.8, CHALK),
        box(vec(-2.58, -0.46, 0.46), vec(-2.34, 0.46, 0.49), CARBON, 0.3, 3),
        limb(vec(-2.15, 0, 0.45), vec(-2.36, 0, 0.86), [0.02, 0.018], CARBON, 6),
        box(vec(-2.6, -0.45, 0.10), vec(-2.0, 0.45, 0.24), CARBON, 0.2, 3),
        box(vec(-2.62, -0.05, 0.30), vec(-2.58, 0.05, 0.42), vec(0.1, 0.1, 0.9)),
    ]
    return parts
