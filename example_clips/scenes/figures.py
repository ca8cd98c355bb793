"""People: what they wear, and skeletons posed by where hands and feet are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from example_clips.scenes.camera import Array, unit, vec
from example_clips.scenes.mesh import frame_of
from example_clips.scenes.texture import hsv

SKINS = (
    vec(0.50, 0.64, 0.86),
    vec(0.42, 0.56, 0.78),
    vec(0.30, 0.42, 0.62),
    vec(0.18, 0.26, 0.42),
    vec(0.11, 0.15, 0.25),
)
HAIRS = (
    vec(0.03, 0.03, 0.04),
    vec(0.05, 0.07, 0.10),
    vec(0.10, 0.18, 0.28),
    vec(0.30, 0.50, 0.65),
    vec(0.04, 0.05, 0.07),
)


@dataclass(frozen=True, slots=True)
class Kit:
    """What a person wears and looks like; colours BGR, height in metres."""

    shirt: Array
    shorts: Array
    accent: Array
    shoes: Array
    socks: Array
    skin: Array
    hair: Array
    number: str = ""
    height: float = 1.82
    build: float = 1.0
    long_hair: bool = False
    knee_pads: bool = False
    long_sleeves: bool = False
    trousers: bool = False
    tight: bool = False


def random_kit(
    rng: np.random.Generator,
    like: Kit | None = None,
    women: bool = False,
    knee_pads: bool = False,
    numbered: bool = True,
) -> Kit:
    """A new person, in the clothes of `like` when given."""
    hue = rng.random()
    style = rng.random()
    if style < 0.2:
        shirt = vec(0.88, 0.88, 0.88)
    elif style < 0.35:
        shirt = hsv(hue, 0.3, 0.13)
    else:
        shirt = hsv(hue, rng.uniform(0.7, 1), rng.uniform(0.45, 0.9))
    shorts = (
        shirt * 0.9,
        vec(0.06, 0.06, 0.06),
        vec(0.85, 0.85, 0.85),
        vec(0.25, 0.08, 0.05),
        hsv(hue + 0.5, 0.8, 0.4),
    )
    clothes = like or Kit(
        shirt,
        shorts[int(rng.integers(5))],
        hsv(hue + rng.uniform(0.2, 0.8), 0.9, 0.9) if rng.random() < 0.6 else vec(0.9, 0.9, 0.9),
        vec(0.8, 0.8, 0.8),
        vec(0.85, 0.85, 0.85),
        SKINS[0],
        HAIRS[0],
        long_sleeves=False,
        tight=women and rng.random() < 0.8,
    )
    shoe = hsv(rng.random(), 0.8, 0.85) if rng.random() < 0.5 else vec(*([rng.choice([0.1, 0.85])] * 3))
    return replace(
        clothes,
        shoes=shoe,
        skin=SKINS[int(rng.choice(5, p=[0.35, 0.28, 0.17, 0.12, 0.08]))] * rng.uniform(0.95, 1.1),
        hair=HAIRS[int(rng.integers(len(HAIRS)))],
        number=str(int(rng.integers(1, 20))) if numbered else "",
        height=rng.normal(1.74 if women else 1.86, 0.06),
        build=rng.uniform(0.88, 1.02) * (0.9 if women else 1.0),
        long_hair=women,
        knee_pads=knee_pads,
    )


@dataclass(frozen=True, slots=True)
class Pose:
    """Local frame: forward, left, up, from the ground point under the pelvis; metres for 1.80 m, radians.

    `right_dir` is where a racket held in the right hand points.
    """

    pelvis: Array = field(default_factory=lambda: vec(0, 0, 0.90))
    lean: float = 0.1
    side: float = 0.0
    twist: float = 0.0
    look: float = 0.0
    nod: float = 0.0
    right: Array = field(default_factory=lambda: vec(0.25, -0.25, 1.0))
    left: Array = field(default_factory=lambda: vec(0.25, 0.25, 1.0))
    right_foot: Array = field(default_factory=lambda: vec(0, -0.14, 0))
    left_foot: Array = field(default_factory=lambda: vec(0, 0.14, 0))
    right_tip: float = 0.0
    left_tip: float = 0.0
    right_dir: Array = field(default_factory=lambda: vec(0.7, 0.2, 0.6))
    lift: float = 0.0


def blend(a: Pose, b: Pose, t: float) -> Pose:
    """The pose `t` of the way from `a` to `b`, eased."""
    t = float(np.clip(t, 0, 1))
    t = t * t * (3 - 2 * t)
    mixed = {f.name: getattr(a, f.name) * (1 - t) + getattr(b, f.name) * t for f in fields(Pose)}
    return Pose(**mixed)


def keyed(keys: Sequence[tuple[float, Pose]], t: float) -> Pose:
    """Eased interpolation through (time, pose) keys in order of time."""
    if t <= keys[0][0]:
        return keys[0][1]
    for (ta, a), (tb, b) in itertools.pairwise(keys):
        if t <= tb:
            return blend(a, b, (t - ta) / max(tb - ta, 1e-6))
    return keys[-1][1]


def stride(phase: float, length: float, bounce: float = 0.05) -> Pose:
    """One moment of a run; `phase` in turns, `length` of half a stride in metres."""
    s, c = np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)
    return Pose(
        pelvis=vec(0, 0, 0.88 + bounce * abs(c)),
        lean=0.12 + 0.2 * length,
        twist=0.25 * s * min(length, 1),
        right=vec(0.08 - 0.35 * s, -0.24, 1.05 + 0.12 * abs(s)),
        left=vec(0.08 + 0.35 * s, 0.24, 1.05 + 0.12 * abs(s)),
        right_foot=vec(length * s, -0.1, max(0.0, 0.4 * length * c)),
        left_foot=vec(-length * s, 0.1, max(0.0, -0.4 * length * c)),
        right_tip=-0.7 * max(0.0, -s) * min(1.0, length * 2),
        left_tip=-0.7 * max(0.0, s) * min(1.0, length * 2),
    )


def two_bone(a: Array, target: Array, l1: float, l2: float, pole: Array) -> tuple[Array, Array]:
    """The middle joint and the reached end of a two-bone chain that bends towards `pole`."""
    d = target - a
    dist = float(np.clip(np.linalg.norm(d), 0.15 * (l1 + l2), 0.995 * (l1 + l2)))
    axis = unit(d)
    x = (l1**2 - l2**2 + dist**2) / (2 * dist)
    height = np.sqrt(max(l1**2 - x**2, 0))
    side, _ = frame_of(axis, pole)
    return a + axis * x + side * height, a + axis * dist
