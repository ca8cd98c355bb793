"""A sports hall: floor, stands or walls, boards, lamps, and the light in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from example_clips.scenes import texture as tx
from example_clips.scenes.camera import Array, Camera, Image, paste_plane, vec
from example_clips.scenes.mesh import Light


@dataclass(slots=True)
class Hall:
    """Half sizes in metres, textures, and what they are lit by."""

    half_x: float
    half_y: float
    floor: Image
    court: Image
    court_half: tuple[float, float]
    walls: list[Image]
    stands: list[Image] | None
    boards: list[Image] | None
    wall_height: float
    ceiling: Array
    lamps: bool
    light: Light
    dim: float
    blur: float


def random_hall(
    rng: np.random.Generator, court: Image, court_half: tuple[float, float], wood: bool, arena: float
) -> Hall:
    """A hall around a court texture (rows along y); `arena` is how likely it is to have full stands."""
    hx, hy = court_half[0] + rng.uniform(1.5, 6), court_half[1] + rng.uniform(2, 8)
    big = rng.random() < arena
    wood_colour = vec(0.38, 0.58, 0.78) * rng.uniform(0.75, 1.05)
    if wood:
        floor = tx.planks(rng, 500, 500, wood_colour, 5, 60)
    else:
        tint = tx.pick(
            rng,
            [
                vec(0.2, 0.2, 0.2),
                vec(0.15, 0.12, 0.55),
                vec(0.45, 0.25, 0.12),
                vec(0.3, 0.45, 0.2),
                vec(0.55, 0.5, 0.45),
                vec(0.35, 0.1, 0.3),
                vec(0.12, 0.12, 0.14),
            ],
        )
        floor = tx.speckle(rng, tx.plain(500, 500, tint), 0.05, 0.02)
    palette = [tx.hsv(rng.random(), 0.75, 0.6) for _ in range(2)] + [
        vec(0.85, 0.85, 0.85),
        vec(0.1, 0.1, 0.12),
        tx.hsv(rng.random(), 0.8, 0.5),
    ]
    walls, stands, boards = [], None, None
    tone = tx.pick(
        rng,
        [
            vec(0.75, 0.78, 0.8),
            vec(0.5, 0.62, 0.7),
            vec(0.6, 0.5, 0.35),
            vec(0.3, 0.4, 0.25),
            vec(0.5, 0.3, 0.2),
            vec(0.25, 0.3, 0.5),
            vec(0.12, 0.12, 0.14),
            vec(0.35, 0.2, 0.35),
        ],
    )
    for _ in range(4):
        wall = tx.speckle(rng, tx.plain(240, 960, tone), 0.08, 0.015)
        for x in range(0, 960, int(rng.integers(60, 160))):
            wall[:, x : x + 2] *= 0.8
        if rng.random() < 0.6:
            wall[150:] = tx.pick(rng, palette) * 0.8
        if rng.random() < 0.5 and not big:
            for x in range(30, 930, 130):
                wall[25:80, x : x + 100] = vec(0.95, 0.92, 0.88) * rng.uniform(0.8, 1.3)
                wall[25:80, x + 50 : x + 53] *= 0.5
        if rng.random() < 0.5:
            for _ in range(int(rng.integers(1, 4))):
                x = int(rng.integers(20, 760))
                wall[95:135, x : x + 160] = tx.board(rng, 40, 160, 1, palette)
        walls.append(np.asarray(np.clip(wall, 0, 1.2), np.float32))
    if big or rng.random() < 0.45:
        rows = 14 if big else int(rng.integers(3, 7))
        seat = tx.hsv(rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.25, 0.7))
        density = rng.uniform(0.6, 0.97) if big else rng.uniform(0.0, 0.7)
        stands = [tx.crowd(rng, rows, 48, density, seat) for _ in range(4)]
    if big or rng.random() < 0.5:
        boards = [tx.board(rng, 40, 1200, int(rng.integers(3, 9)), palette) for _ in range(4)]
    dim = rng.uniform(0.2, 0.6) if big and rng.random() < 0.75 else rng.uniform(0.6, 1.0)
    warm = vec(rng.uniform(0.88, 1.04), 1.0, rng.uniform(0.96, 1.08))
    spread = rng.uniform(-0.6, 0.6, 2)
    direction = vec(spread[0], spread[1], 1.0)
    light = Light(
        direction / np.linalg.norm(direction),
        rng.uniform(0.6, 0.9) * warm,
        rng.uniform(0.75, 1.0) * warm,
        rng.uniform(0.3, 0.5) * (floor.reshape(-1, 3).mean(0) + 0.3),
    )
    return Hall(
        hx,
        hy,
        floor,
        court,
        court_half,
        walls,
        stands,
        boards,
        rng.uniform(7, 11),
        tone * rng.uniform(0.1, 0.7),
        rng.random() < 0.7,
        light,
        dim,
        rng.uniform(0, 1),
    )


def paint_hall(image: Image, cam: Camera, hall: Hall, focus: float) -> None:
    """The empty hall; what lies far behind the `focus` distance (metres) is blurred."""
    image[:] = hall.ceiling * hall.dim
    hx, hy, wh = hall.half_x, hall.half_y, hall.wall_height
    if hall.lamps:
        for y in np.arange(-hy, hy, 5.0):
            for x in np.arange(-hx, hx, 5.0):
                spot = np.full((2, 2, 3), 1.6, np.float32)
                if (cam.eye - vec(x, y, wh + 1)) @ (cam.target - cam.eye) < 0:
                    paste_plane(image, cam, vec(x, y, wh + 1.5), vec(1.6, 0, 0), vec(0, 0.35, 0), spot)
    up = vec(0, 0, wh)
    sides = [
        (vec(-hx, hy, 0), vec(2 * hx, 0, 0), vec(0, -1, 0)),
        (vec(hx, -hy, 0), vec(-2 * hx, 0, 0), vec(0, 1, 0)),
        (vec(hx, hy, 0), vec(0, -2 * hy, 0), vec(-1, 0, 0)),
        (vec(-hx, -hy, 0), vec(0, 2 * hy, 0), vec(1, 0, 0)),
    ]
    facing = []
    for n, (o, along, inward) in enumerate(sides):
        if (cam.eye - o) @ inward > -14 and (cam.target - cam.eye) @ inward < 0.4 * np.linalg.norm(
            cam.target - cam.eye
        ):
            facing.append((n, o, along, inward))
    for n, o, along, inward in facing:
        if (cam.eye - o) @ inward < 0.5:
            continue
        depth = 8.0 if hall.stands is not None else 0.0
        paste_plane(image, cam, o + up - inward * depth * 0.9, along, -up, hall.walls[n] * hall.dim)
        if hall.stands is not None:
            rise = vec(0, 0, hall.stands[n].shape[0] / 18 * 0.42)
            top = o + vec(0, 0, 0.8) + rise - inward * (hall.stands[n].shape[0] / 18 * 0.62)
            paste_plane(image, cam, top, along, -(top - o - vec(0, 0, 0.8)), hall.stands[n] * hall.dim)
    floor_dim = 0.5 + 0.5 * hall.dim
    far_blur = cam.size[1] / 360 * hall.blur * np.clip(14 / max(focus, 1), 0.3, 3.5)
    if far_blur > 0.4:
        image[:] = cv2.GaussianBlur(image, (0, 0), float(far_blur))
    lo, hi = vec(-hx, -hy, 0), vec(hx, hy, 0)
    paste_plane(
        image, cam, vec(lo[0], hi[1], 0), vec(2 * hx, 0, 0), vec(0, -2 * hy, 0), hall.floor * floor_dim
    )
    if hall.boards is not None:
        for n, o, along, inward in facing:
            if (cam.eye - o) @ inward < 0.5:
                continue
            paste_plane(
                image,
                cam,
                o + inward * 0.4 + vec(0, 0, 0.9),
                along,
                vec(0, 0, -0.9),
                hall.boards[n] * (0.5 + 0.5 * hall.dim),
            )
    if far_blur > 0.8:
        image[:] = cv2.GaussianBlur(image, (0, 0), float(far_blur * 0.4))
    cx, cy = hall.court_half
    paste_plane(image, cam, vec(-cx, cy, 0), vec(2 * cx, 0, 0), vec(0, -2 * cy, 0), hall.court)
