"""The body and the clothes around a posed skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from example_clips.scenes.camera import Array, unit, vec
from example_clips.scenes.figures import Kit, Pose, two_bone
from example_clips.scenes.mesh import Mesh, ellipsoid, frame_of, limb, loft, merge, sheet

UPPER_ARM, FOREARM, THIGH, SHANK = 0.31, 0.27, 0.435, 0.425
"""Bone lengths in metres of somebody 1.80 m tall."""
TORSO = (
    (-0.12, 0.10, 0.08, "shorts"),
    (-0.10, 0.145, 0.11, "shorts"),
    (-0.03, 0.172, 0.125, "shorts"),
    (0.03, 0.172, 0.124, "shorts"),
    (0.04, 0.170, 0.126, "shirt"),
    (0.12, 0.152, 0.115, "shirt"),
    (0.20, 0.147, 0.110, "shirt"),
    (0.28, 0.160, 0.116, "shirt"),
    (0.36, 0.178, 0.124, "shirt"),
    (0.43, 0.186, 0.122, "shirt"),
    (0.48, 0.176, 0.105, "shirt"),
    (0.515, 0.135, 0.085, "shirt"),
    (0.535, 0.075, 0.066, "accent"),
    (0.55, 0.057, 0.06, "skin"),
)
"""Height along the spine, half width, half depth, and the part of the kit below that height."""
SHOE = (
    (0.0, 0.022, 0.03),
    (0.015, 0.036, 0.055),
    (0.06, 0.040, 0.062),
    (0.11, 0.040, 0.05),
    (0.17, 0.047, 0.036),
    (0.23, 0.045, 0.027),
    (0.27, 0.03, 0.02),
    (0.28, 0.01, 0.012),
)
"""Distance from the heel, half width, height."""
SEGMENTS = {
    "0": "abcdef",
    "1": "bc",
    "2": "abged",
    "3": "abgcd",
    "4": "fgbc",
    "5": "afgcd",
    "6": "afgecd",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
}
"""Which bars of a seven-segment digit are on."""


@dataclass(frozen=True, slots=True)
class Body:
    """A posed person: the mesh and the world points other things hang on."""

    mesh: Mesh
    right_hand: Array
    left_hand: Array
    right_dir: Array
    head: Array


class Frame:
    """World directions and points of one posed person; `k` scales 1.80 m to their height."""

    def __init__(self, kit: Kit, pose: Pose, at: Array, yaw: float, sides: int) -> None:
        self.kit, self.pose, self.sides = kit, pose, sides
        self.k, self.wide = kit.height / 1.80, kit.height / 1.80 * kit.build
        self.forward = vec(np.cos(yaw), np.sin(yaw), 0)
        self.left = vec(-np.sin(yaw), np.cos(yaw), 0)
        self.up = vec(0, 0, 1)
        self.base = vec(at[0], at[1], pose.lift)
        self.pelvis = self.world(pose.pelvis)
        upright = self.up * np.cos(pose.lean) + self.forward * np.sin(pose.lean)
        self.spine = unit(upright + self.left * np.sin(pose.side))
        hip_turn = pose.twist * 0.3
        self.hips = unit(self.left * np.cos(hip_turn) - self.forward * np.sin(hip_turn))
        across = unit(self.left * np.cos(pose.twist) - self.forward * np.sin(pose.twist))
        self.shoulders = unit(across - self.spine * (across @ self.spine) * 0.8)
        self.chest = unit(np.cross(self.shoulders, self.spine))

    def world(self, p: Array) -> Array:
        """A point of the pose's local frame."""
        return np.asarray(self.base + self.k * self.turned(p))

    def turned(self, p: Array) -> Array:
        """A direction of the pose's local frame."""
        return np.asarray(self.forward * p[0] + self.left * p[1] + self.up * p[2])


def person(kit: Kit, pose: Pose, at: Array, yaw: float, sides: int = 12, spread: bool = False) -> Body:
    """A person in world metres, standing over `at` (x, y) and facing `yaw` (radians from +x).

    `spread` gives fingers, `sides` how round limbs are.
    """
    f = Frame(kit, pose, at, yaw, sides)
    head_parts, head = _head(f)
    right_arm, right_hand = _arm(f, -1, pose.right, spread)
    left_arm, left_hand = _arm(f, 1, pose.left, spread)
    parts = [_torso(f), *_number(f), *head_parts, *right_arm, *left_arm]
    parts += _leg(f, -1, pose.right_foot, pose.right_tip)
    parts += _leg(f, 1, pose.left_foot, pose.left_tip)
    return Body(merge(parts), right_hand, left_hand, unit(f.turned(pose.right_dir)), head)


def _torso(f: Frame) -> Mesh:
    """From the hips to the neck, with side stripes and folds in the cloth."""
    th = np.linspace(0, 2 * np.pi, f.sides * 2, endpoint=False)
    stripe = np.abs(np.cos(th + np.pi / (f.sides * 2))) > 0.9
    arch = 1 if f.pose.lean > 0 else -1
    rings, colours = [], []
    for n, (h, half_width, half_depth, part) in enumerate(TORSO):
        t = float(np.clip(h / 0.45, 0, 1))
        across = unit(f.hips * (1 - t) + f.shoulders * t)
        ahead = unit(np.cross(across, f.spine))
        centre = f.pelvis + f.k * (f.spine * h - ahead * 0.0175 * arch * np.sin(np.pi * t))
        circle = half_width * np.cos(th)[:, None] * across + half_depth * np.sin(th)[:, None] * ahead
        rings.append(centre + f.wide * circle)
        if n:
            row = np.where((stripe & (0.03 < h < 0.44))[:, None], f.kit.accent, getattr(f.kit, part))
            colours.append(row * (1 + 0.07 * np.sin(th * 3 + n * 1.7) * np.sin(th * 5 + n))[:, None])
    return loft(np.array(rings), np.array(colours))


def _number(f: Frame) -> list[Mesh]:
    """The number, large on the back and small on the chest."""
    parts: list[Mesh] = []
    for face, high, width in ((-1, 0.19, 0.10), (1, 0.10, 0.055)):
        right = f.shoulders * face  # to the right of who looks at it
        centre = f.pelvis + f.k * (f.spine * 0.33 + f.chest * face * (0.13 * f.kit.build + 0.003))
        for n, digit in enumerate(f.kit.number):
            shift = f.k * (n - (len(f.kit.number) - 1) / 2) * width * 1.3
            parts += _digit(
                digit, centre + right * shift, right, f.spine, f.k * width, f.k * high, f.kit.accent
            )
    return parts


def _digit(char: str, o: Array, across: Array, up: Array, w: float, h: float, colour: Array) -> list[Mesh]:
    """A seven-segment digit centred on `o`."""
    t = w * 0.24
    spans = {
        "a": (-w / 2, h / 2 - t, w, t),
        "g": (-w / 2, -t / 2, w, t),
        "d": (-w / 2, -h / 2, w, t),
        "f": (-w / 2, 0, t, h / 2),
        "b": (w / 2 - t, 0, t, h / 2),
        "e": (-w / 2, -h / 2, t, h / 2),
        "c": (w / 2 - t, -h / 2, t, h / 2),
    }
    return [
        sheet(o + across * spans[s][0] + up * spans[s][1], across * spans[s][2], up * spans[s][3], colour)
        for s in SEGMENTS[char]
    ]


def _blob(centre: Array, axes: Array, colour: Array, n: int = 8, m: int = 6) -> Mesh:
    """An ellipsoid of one colour."""
    mesh, _ = ellipsoid(centre, axes, n, m)
    mesh.colours = mesh.colours * colour
    return mesh


def _head(f: Frame) -> tuple[list[Mesh], Array]:
    """Neck, skull with face and hair, and where the head's middle is."""
    k, kit, pose = f.k, f.kit, f.pose
    neck = f.pelvis + k * f.spine * 0.535
    lift = unit(f.spine * 0.6 + f.up * 0.6 + f.chest * 0.05)
    gaze = unit(f.chest * np.cos(pose.look) + f.shoulders * np.sin(pose.look) + lift * np.sin(pose.nod))
    ahead = unit(gaze - lift * (gaze @ lift) + lift * np.sin(pose.nod) * 0.8)
    left = unit(np.cross(lift, ahead))
    up = np.cross(ahead, left)
    head = neck + k * (lift * 0.155 + ahead * 0.015)
    throat = [0.058 * f.wide, 0.054 * f.wide]
    parts = [limb(neck - k * f.spine * 0.03, head - k * up * 0.04, throat, kit.skin * 0.92, f.sides)]
    parts.append(_skull(f, head, k * np.stack([ahead * 0.098, left * 0.076, up * 0.118])))
    nose = k * np.stack([ahead * 0.022, left * 0.014, up * 0.028])
    parts.append(_blob(head + k * (ahead * 0.098 - up * 0.018), nose, kit.skin * 1.02))
    ear = k * np.stack([ahead * 0.02, left * 0.012, up * 0.032])
    parts += [_blob(head + k * left * 0.077 * s, ear, kit.skin * 0.9) for s in (-1, 1)]
    if kit.long_hair:
        root = head - k * (ahead * 0.11 - up * 0.05)
        end = root - k * (ahead * 0.10 + up * 0.26 + 0.1 * np.sin(pose.twist * 2) * left)
        tail = k * np.array([0.03, 0.045, 0.035, 0.012])
        parts.append(limb(root, end, tail, kit.hair, max(8, f.sides // 2)))
    return parts, head


def _skull(f: Frame, centre: Array, axes: Array) -> Mesh:
    """The head without nose and ears; rows of `axes` are the half-axes forward, left and up."""
    kit = f.kit
    detail = max(16, f.sides * 2)
    skull, local = ellipsoid(centre, axes, detail, detail * 3 // 4)
    ahead, side, up = local.T
    face, aside = ahead > 0.6, np.abs(np.abs(side) - 0.42)
    hair = (up > 0.55) | ((ahead < 0.25) & (up > 0.05))
    hair |= (ahead < -0.15) & (up > (-0.75 if kit.long_hair else -0.25))
    tone = np.repeat(kit.skin[None], len(local), 0)
    tone[face & (aside < 0.13) & (np.abs(up - 0.06) < 0.09)] = kit.skin * 0.25  # eyes
    tone[face & (aside < 0.2) & (np.abs(up - 0.24) < 0.06)] = kit.skin * 0.35  # brows
    tone[face & (np.abs(side) < 0.28) & (np.abs(up + 0.5) < 0.06)] = kit.skin * vec(0.55, 0.5, 0.75)  # mouth
    tone[hair] = kit.hair
    skull.colours = tone * (1 + 0.15 * np.sin(40 * side) * hair)[:, None]
    out = skull.vertices - centre
    left, height = unit(axes[1]), float(np.linalg.norm(axes[2]))
    drop = np.clip(-(out @ unit(axes[2])) / height, 0, 1)
    hairy = np.zeros(len(out))
    hairy[np.unique(skull.quads[hair])] = 1
    narrower = np.outer((out @ left) * 0.32 * drop**1.5, left)
    skull.vertices = skull.vertices - narrower + out * (0.10 * hairy)[:, None]
    return skull


def _arm(f: Frame, side: int, target: Array, spread: bool) -> tuple[list[Mesh], Array]:
    """The arm on one side (-1 right, +1 left) that reaches for `target`, and where its hand is."""
    k, w, kit = f.k, f.wide, f.kit
    raised = float(np.clip((target[2] - 1.35) / 0.5, 0, 1))
    socket = f.spine * (0.455 + 0.05 * raised) + f.shoulders * side * (0.178 - 0.02 * raised) * kit.build
    shoulder = f.pelvis + k * socket
    pole = unit(f.shoulders * side * 0.7 - f.up * (0.8 - 0.5 * raised) - f.chest * (0.5 - 0.9 * raised))
    elbow, wrist = two_bone(shoulder, f.world(target), k * UPPER_ARM, k * FOREARM, pole)
    cuff = shoulder + (elbow - shoulder) * (0.3 if kit.tight else 0.55)
    skin = kit.shirt if kit.long_sleeves else kit.skin
    sleeve = np.array([kit.shirt, kit.shirt * 0.92])
    axis = unit(wrist - elbow)
    normal, across = frame_of(axis, f.chest)
    palm = k * np.stack([axis * 0.055, across * 0.042, normal * 0.02])
    parts = [
        limb(shoulder, elbow, w * np.array([0.054, 0.056, 0.052, 0.045, 0.042]), skin, f.sides),
        limb(shoulder, cuff, w * np.array([0.064, 0.068, 0.066]), sleeve, f.sides),
        limb(elbow, wrist, w * np.array([0.042, 0.047, 0.042, 0.034, 0.027]), skin, f.sides),
        _blob(wrist + k * axis * 0.05, palm, kit.skin, 10, 8),
    ]
    if spread:
        for n, angle in enumerate((-0.45, -0.16, 0.1, 0.34)):
            finger = (0.085 - 0.012 * abs(n - 1.4)) * unit(axis * np.cos(angle) + across * np.sin(angle))
            root = wrist + k * (axis * 0.085 + across * (n - 1.5) * 0.02)
            parts.append(limb(root, root + k * finger, [k * 0.0105, k * 0.009], kit.skin, 6))
        root = wrist + k * (axis * 0.03 - across * 0.025 * side)
        thumb = 0.07 * unit(axis * 0.6 - across * side)
        parts.append(limb(root, root + k * thumb, [k * 0.012, k * 0.01], kit.skin, 6))
    return parts, wrist + k * axis * 0.06


def _leg(f: Frame, side: int, foot: Array, tip: float) -> list[Mesh]:
    """The leg on one side with its foot at `foot`, toes turned up by `tip` radians."""
    k, w, kit = f.k, f.wide, f.kit
    hip = f.pelvis + k * (f.hips * side * 0.095 * kit.build - f.spine * 0.05)
    pole = unit(f.forward + f.left * side * (0.15 + 0.5 * abs(foot[1])))
    knee, ankle = two_bone(hip, f.world(foot) + k * f.up * 0.085, k * THIGH, k * SHANK, pole)
    thigh = w * np.array([0.088, 0.090, 0.082, 0.070, 0.058])
    if kit.trousers:
        shank = w * np.array([0.066, 0.066, 0.062, 0.06, 0.062])
        parts = [
            limb(hip, knee, thigh * 1.1, kit.shorts, f.sides),
            limb(knee, ankle, shank, kit.shorts, f.sides),
        ]
        return [*parts, _shoe(f, side, ankle, tip)]
    length, flare = (0.28, 1.03) if kit.tight else (0.62, 1.18)
    hem = hip + (knee - hip) * length
    cloth = np.array([kit.shorts, kit.shorts * 0.93])
    calf = w * np.array([0.052, 0.059, 0.058, 0.046, 0.036, 0.033])
    stocking = np.array([kit.skin, kit.skin, kit.skin, kit.socks, kit.socks])
    parts = [
        limb(hip, knee, thigh, kit.skin, f.sides),
        limb(hip, hem, w * np.array([0.094, 0.097, 0.092 * flare]), cloth, f.sides, round_ends=False),
        limb(knee, ankle, calf, stocking, f.sides, hint=-f.forward),
    ]
    if kit.knee_pads:
        d = k * unit(ankle - knee)
        tone = vec(0.05, 0.05, 0.05) if kit.shorts.mean() < 0.6 else vec(0.85, 0.85, 0.85)
        parts.append(
            limb(knee - d * 0.07, knee + d * 0.09, w * np.array([0.066, 0.072, 0.064]), tone, f.sides)
        )
    return [*parts, _shoe(f, side, ankle, tip)]


def _shoe(f: Frame, side: int, ankle: Array, tip: float) -> Mesh:
    """A shoe with a white sole."""
    toes = unit(f.forward * np.cos(tip) + f.up * np.sin(tip) + f.left * side * 0.15)
    across = unit(np.cross(f.up, toes))
    above = np.cross(toes, across)
    heel = ankle - f.k * (toes * 0.065 + f.up * 0.055)
    th = np.linspace(0, 2 * np.pi, f.sides, endpoint=False)
    rings = []
    for x, w, h in SHOE:
        rise = h * np.maximum(np.sin(th), -0.0105 / h) + h * 0.2
        rings.append(heel + f.k * (toes * x + across * w * np.cos(th)[:, None] + above * rise[:, None]))
    sole = np.sin(th + np.pi / f.sides) < 0.05
    row = np.where(sole[:, None], vec(0.85, 0.85, 0.85), f.kit.shoes)
    return loft(np.array(rings), np.repeat(row[None], len(SHOE) - 1, 0), 0.15)
