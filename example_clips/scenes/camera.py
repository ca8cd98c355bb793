"""A pinhole camera: points to pixels, and flat textures into the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
"""Float64: points, directions, colours."""
Image = NDArray[Any]
"""Float32 (h, w, 3 or 4): BGR and alpha, 0..1."""

NEAR = 0.15
"""Metres in front of the eye below which nothing is drawn."""


def vec(*xs: float) -> Array:
    """A float vector."""
    return np.array(xs, float)


def unit(v: ArrayLike) -> Array:
    """`v` scaled to length one (zero stays zero)."""
    v = np.asarray(v, float)
    n = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.asarray(v / np.where(n < 1e-9, 1.0, n))


@dataclass(frozen=True, slots=True)
class Camera:
    """Eye and target (world metres), vertical field of view (degrees), roll (radians), size in pixels."""

    eye: Array
    target: Array
    fov: float
    size: tuple[int, int]
    roll: float = 0.0

    def matrix(self) -> Array:
        """The 3×4 matrix from homogeneous world points to (u·depth, v·depth, depth)."""
        forward = unit(self.target - self.eye)
        right = unit(np.cross(forward, vec(0, 0, 1)))
        down = np.cross(forward, right)
        c, s = np.cos(self.roll), np.sin(self.roll)
        right, down = c * right + s * down, c * down - s * right
        w, h = self.size
        f = h / 2 / np.tan(np.radians(self.fov) / 2)
        rot = np.stack([right, down, forward])
        k = np.array([[f, 0, w / 2], [0, f, h / 2], [0, 0, 1]])
        return np.asarray(k @ np.hstack([rot, -(rot @ self.eye)[:, None]]))

    def project(self, points: ArrayLike) -> tuple[Array, Array]:
        """Pixels (N, 2) and depths (N,) of world points; pixels are meaningless where depth < NEAR."""
        points = np.asarray(points, float)
        m = self.matrix()
        q = points @ m[:, :3].T + m[:, 3]
        depth = q[..., 2]
        safe = np.where(depth < NEAR, 1.0, depth)
        return np.clip(q[..., :2] / safe[..., None], -30000, 30000), depth

    def pixels_per_metre(self, point: ArrayLike) -> float:
        """Scale at a point."""
        depth = float(self.project(np.asarray(point, float)[None])[1][0])
        return float(self.size[1] / 2 / np.tan(np.radians(self.fov) / 2) / max(depth, NEAR))


def clip(points: Array, cam: Camera, margin: float = 4.0) -> Array:
    """The part of a convex world polygon in front of the eye and inside the picture, as world points."""
    m = cam.matrix()
    w, h = cam.size
    near = m[2] - [0, 0, 0, NEAR]
    for plane in (
        near,
        m[0] + margin * m[2],
        (w + margin) * m[2] - m[0],
        m[1] + margin * m[2],
        (h + margin) * m[2] - m[1],
    ):
        if len(points) < 3:
            break
        d = points @ plane[:3] + plane[3]
        out = []
        for i in range(len(points)):
            p, q, dp, dq = points[i], points[(i + 1) % len(points)], d[i], d[(i + 1) % len(points)]
            if dp >= 0:
                out.append(p)
            if (dp >= 0) != (dq >= 0):
                out.append(p + (q - p) * dp / (dp - dq))
        points = np.array(out).reshape(-1, 3)
    return points


def paste_plane(image: Image, cam: Camera, origin: Array, u: Array, v: Array, texture: Image) -> None:
    """Draw `texture` (h, w, 3 or 4 with alpha) on the parallelogram `origin`, `origin+u`, `origin+v`.

    Column 0 lies at `origin`, row 0 too; `image` is changed in place.
    """
    m = cam.matrix()
    corners = np.array([origin, origin + u, origin + u + v, origin + v])
    poly = clip(corners, cam)
    if len(poly) < 3:
        return
    uv, _ = cam.project(poly)
    h, w = image.shape[:2]
    x0, y0 = np.maximum(np.floor(uv.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(uv.max(0)).astype(int) + 1, [w, h])
    if x1 <= x0 or y1 <= y0:
        return
    part = np.linalg.norm(np.cross(poly[1:-1] - poly[0], poly[2:] - poly[0]), axis=1).sum() / 2
    share = part / max(float(np.linalg.norm(np.cross(u, v))), 1e-9)
    area = abs(float(cv2.contourArea(uv.astype(np.float32))))
    ratio = np.sqrt(area / max(share * texture.shape[0] * texture.shape[1], 1e-9))
    if ratio < 0.6:
        scale = max(ratio * 1.3, 8 / min(texture.shape[:2]))
        if scale < 1:
            texture = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    th, tw = texture.shape[:2]
    hom = np.stack(
        [m[:, :3] @ u / tw, m[:, :3] @ v / th, m[:, :3] @ (origin + u * 0.5 / tw + v * 0.5 / th) + m[:, 3]],
        axis=1,
    )
    hom = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], float) @ hom
    size = (int(x1 - x0), int(y1 - y0))
    warped = cv2.warpPerspective(texture, hom, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((size[1], size[0]), np.uint8)
    pts = np.rint((uv - [x0, y0]) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, pts, 255, cv2.LINE_AA, 4)
    alpha = mask.astype(np.float32)[..., None] / 255
    if warped.shape[2] == 4:
        alpha = alpha * warped[..., 3:]
    region = image[y0:y1, x0:x1]
    region += (warped[..., :3] - region) * alpha
