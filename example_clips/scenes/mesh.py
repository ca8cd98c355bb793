"""Solids of quads, and the painter's algorithm that shades and draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from example_clips.scenes.camera import NEAR, Array, Camera, Image, unit, vec


@dataclass(slots=True)
class Mesh:
    """Vertices (N, 3), quads (M, 4), albedo (M, 3) and gloss (M,) from 0 (cloth) to 1 (lacquer)."""

    vertices: Array
    quads: np.ndarray
    colours: Array
    gloss: Array

    def moved(self, rotation: Array, offset: ArrayLike) -> Mesh:
        """The mesh turned by a 3×3 matrix, then shifted."""
        return Mesh(self.vertices @ rotation.T + np.asarray(offset), self.quads, self.colours, self.gloss)


@dataclass(frozen=True, slots=True)
class Light:
    """A key light from `direction` (towards the light) over an ambient half-sphere, all BGR."""

    direction: Array
    key: Array
    sky: Array
    ground: Array
    fog: Array | None = None
    fog_range: float = 1e9


def merge(parts: Sequence[Mesh]) -> Mesh:
    """One mesh out of many."""
    offsets = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
    return Mesh(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.quads + o for p, o in zip(parts, offsets, strict=True)]),
        np.concatenate([p.colours for p in parts]),
        np.concatenate([p.gloss for p in parts]),
    )


def loft(
    rings: Array, colours: ArrayLike, gloss: float = 0.0, closed: bool = True, caps: bool = True
) -> Mesh:
    """A skin over rings (R, S, 3); `colours` is one, one per gap (R-1, 3) or per quad (R-1, S, 3)."""
    r, s, _ = rings.shape
    gaps = s if closed else s - 1
    i, j = np.meshgrid(np.arange(r - 1), np.arange(gaps), indexing="ij")
    k = (j + 1) % s
    quads = np.stack([i * s + j, i * s + k, (i + 1) * s + k, (i + 1) * s + j], -1).reshape(-1, 4)
    col = np.asarray(colours, float)
    if col.ndim == 2:
        col = col[:, None]
    col = np.broadcast_to(col, (r - 1, gaps, 3)).reshape(-1, 3)
    vertices = rings.reshape(-1, 3)
    if caps and closed:
        for ring, tone in ((0, col[0]), (r - 1, col[-1])):
            centre = len(vertices)
            vertices = np.vstack([vertices, rings[ring].mean(0)])
            base = ring * s
            fan = [[base + a, base + (a + 1) % s, centre, centre] for a in range(s)]
            quads = np.vstack([quads, fan])
            col = np.vstack([col, np.repeat(tone[None], s, 0)])
    return Mesh(vertices, quads, np.array(col), np.full(len(quads), gloss))


def frame_of(axis: Array, hint: Array) -> tuple[Array, Array]:
    """Two unit vectors across `axis`, the first as near to `hint` as can be."""
    axis = unit(axis)
    a = hint - axis * (hint @ axis)
    if np.linalg.norm(a) < 1e-6:
        a = np.cross(axis, vec(0.3, 0.5, 0.8))
    a = unit(a)
    return a, np.cross(axis, a)


def limb(
    p: Array,
    q: Array,
    radii: ArrayLike,
    colours: ArrayLike,
    sides: int = 12,
    hint: Array | None = None,
    squash: float = 1.0,
    gloss: float = 0.0,
    round_ends: bool = True,
) -> Mesh:
    """A round limb from `p` to `q`, radii evenly spaced along it; `colours` one, or one per gap of radii."""
    a, b = frame_of(q - p, vec(0, 0, 1) if hint is None else hint)
    rad = np.asarray(radii, float)
    n = len(rad)
    t = np.linspace(0, 1, n)
    length = max(float(np.linalg.norm(q - p)), 1e-6)
    col = np.asarray(colours, float)
    col = np.broadcast_to(col, (n - 1, 3)) if col.ndim == 1 else col
    if round_ends:
        t = np.concatenate(
            [
                [-0.75 * rad[0] / length, -0.45 * rad[0] / length],
                t,
                [1 + 0.45 * rad[-1] / length, 1 + 0.75 * rad[-1] / length],
            ]
        )
        rad = np.concatenate([[0.5 * rad[0], 0.86 * rad[0]], rad, [0.86 * rad[-1], 0.5 * rad[-1]]])
        col = np.concatenate([col[:1], col[:1], col, col[-1:], col[-1:]])
    th = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    centres = p + (q - p) * t[:, None]
    circle = np.cos(th)[:, None] * a + squash * np.sin(th)[:, None] * b
    return loft(centres[:, None] + rad[:, None, None] * circle[None], col, gloss)


def ellipsoid(centre: Array, axes: Array, n: int = 16, m: int = 10) -> tuple[Mesh, Array]:
    """A white ellipsoid with half-axes in the rows of `axes`, and the local direction (M, 3) of each quad.

    The pole is along the last axis.
    """
    th = np.linspace(0, 2 * np.pi, n, endpoint=False)
    ph = np.linspace(-np.pi / 2, np.pi / 2, m + 1)
    local = np.stack(
        [
            np.cos(ph)[:, None] * np.cos(th),
            np.cos(ph)[:, None] * np.sin(th),
            np.repeat(np.sin(ph)[:, None], n, 1),
        ],
        -1,
    )
    mesh = loft(local, vec(1, 1, 1), caps=False)
    direction = unit(mesh.vertices[mesh.quads].mean(1))
    mesh.vertices = centre + mesh.vertices @ axes
    return mesh, direction


def box(lo: ArrayLike, hi: ArrayLike, colour: ArrayLike, gloss: float = 0.0, cuts: int = 1) -> Mesh:
    """An axis-aligned box, each side cut into `cuts`² quads."""
    lo, hi = np.asarray(lo, float), np.asarray(hi, float)
    parts = []
    for axis in range(3):
        for side in (lo[axis], hi[axis]):
            o = lo.copy()
            o[axis] = side
            u, v = np.zeros(3), np.zeros(3)
            a, b = (axis + 1) % 3, (axis + 2) % 3
            u[a], v[b] = hi[a] - lo[a], hi[b] - lo[b]
            parts.append(sheet(o, u, v, colour, gloss, cuts, cuts))
    return merge(parts)


def sheet(
    o: Array, u: Array, v: Array, colour: ArrayLike, gloss: float = 0.0, nu: int = 1, nv: int = 1
) -> Mesh:
    """A flat parallelogram cut into nu×nv quads; `colour` one or per quad (nv, nu, 3)."""
    s = np.linspace(0, 1, nu + 1)
    t = np.linspace(0, 1, nv + 1)
    rings = o + t[:, None, None] * v + s[None, :, None] * u
    return loft(rings, colour, gloss, closed=False, caps=False)


def shade(mesh: Mesh, cam: Camera, light: Light) -> Array:
    """The lit colour of every quad, BGR."""
    p = mesh.vertices[mesh.quads]
    n = unit(np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 1]))
    weak = np.linalg.norm(n, axis=1) < 0.5
    n[weak] = vec(0, 0, 1)
    centre = p.mean(1)
    view = unit(cam.eye - centre)
    n = np.where((n * view).sum(1, keepdims=True) < 0, -n, n)
    up = n[:, 2:] * 0.5 + 0.5
    lambert = np.maximum(n @ light.direction, 0)[:, None]
    base = mesh.colours * (light.ground + (light.sky - light.ground) * up + light.key * lambert)
    mirror = 2 * (n * view).sum(1, keepdims=True) * n - view
    fresnel = 0.06 + 0.6 * (1 - np.clip((n * view).sum(1, keepdims=True), 0, 1)) ** 4
    horizon = np.clip(mirror[:, 2:] * 4 + 0.4, 0, 1)
    env = light.ground * 0.5 + (light.sky * 1.5 - light.ground * 0.5) * horizon
    spot = np.maximum(mirror @ light.direction, 0)[:, None] ** 40
    g = mesh.gloss[:, None]
    out = base + g * (fresnel * env + 0.7 * spot * light.key)
    if light.fog is not None:
        f = 1 - np.exp(-np.linalg.norm(cam.eye - centre, axis=1) / light.fog_range)[:, None]
        out = out * (1 - f) + light.fog * f
    return np.asarray(out)


def draw(image: Image, cam: Camera, mesh: Mesh, light: Light) -> None:
    """Shade and draw far to near, in place."""
    uv, depth = cam.project(mesh.vertices)
    d = depth[mesh.quads]
    pts = uv[mesh.quads]
    h, w = image.shape[:2]
    lo, hi = pts.min(1), pts.max(1)
    seen = (d.min(1) > NEAR) & (hi[:, 0] > 0) & (hi[:, 1] > 0) & (lo[:, 0] < w) & (lo[:, 1] < h)
    index = np.flatnonzero(seen)
    if not len(index):
        return
    key = np.linalg.norm(mesh.vertices[mesh.quads[index]].mean(1) - cam.eye, axis=1)
    index = index[np.argsort(-key, kind="stable")]
    part = Mesh(mesh.vertices, mesh.quads[index], mesh.colours[index], mesh.gloss[index])
    colours = np.clip(shade(part, cam, light), 0, 4).tolist()
    fixed = np.rint(pts[index] * 16).astype(np.int32)
    for quad, colour in zip(fixed, colours, strict=True):
        cv2.fillConvexPoly(image, quad, colour, cv2.LINE_8, 4)


def shadow(image: Image, cam: Camera, mesh: Mesh, light: Light, strength: float, blur: float) -> None:
    """Darken the ground z = 0 where `mesh` hides the key light, in place."""
    d = light.direction
    v = mesh.vertices
    flat = v - d * (np.maximum(v[:, 2:], 0) / max(float(d[2]), 0.2))
    flat[:, 2] = 0
    uv, depth = cam.project(flat)
    h, w = image.shape[:2]
    mask = np.zeros((h // 2, w // 2), np.uint8)
    ok = depth[mesh.quads].min(1) > NEAR
    for quad in np.rint(uv[mesh.quads[ok]] * 8).astype(np.int32):
        cv2.fillConvexPoly(mask, quad, 255, cv2.LINE_8, 4)
    soft = cv2.resize(cv2.GaussianBlur(mask, (0, 0), max(blur, 0.3)), (w, h)).astype(np.float32) / 255
    image *= (1 - strength * soft)[..., None]


def reflection(image: Image, cam: Camera, mesh: Mesh, light: Light, strength: float) -> None:
    """A dim mirror image in a polished floor z = 0, in place."""
    low = Mesh(mesh.vertices * vec(1, 1, -1), mesh.quads, mesh.colours, mesh.gloss)
    layer = image.copy()
    draw(layer, cam, low, light)
    layer = cv2.GaussianBlur(layer, (0, 0), 3.0)
    image += (layer - image) * strength
