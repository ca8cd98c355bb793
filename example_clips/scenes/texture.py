"""Flat things painted with noise and rectangles: crowds, boards, walls, skies, and the lens at the end."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from example_clips.scenes.camera import Array, Image, vec

WORDS = (
    "VELTRA",
    "KORIMO",
    "ASTENO",
    "NUVIO",
    "PELLAN",
    "ORBITEX",
    "SANDOVA",
    "TRIMEX",
    "LUMARA",
    "QUENZO",
    "BRAVIDA",
    "HALDEN",
    "MIRACO",
    "ZENTO",
    "FARALLO",
    "OKAVANA",
)
"""Sponsors that do not exist."""


def hsv(h: float, s: float, v: float) -> Array:
    """A BGR colour from hue, saturation, value, all 0..1."""
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, s, v)
    return vec(b, g, r)


def pick(rng: np.random.Generator, options: Sequence[Array]) -> Array:
    """One of some colours, slightly changed."""
    return np.clip(options[int(rng.integers(len(options)))] * rng.uniform(0.85, 1.15), 0, 1)


def fractal(
    rng: np.random.Generator, h: int, w: int, coarse: int = 4, octaves: int = 5, gain: float = 0.55
) -> Image:
    """Cloud-like noise, mean 0, about -1..1."""
    out = np.zeros((h, w), np.float32)
    amp = 1.0
    for o in range(octaves):
        ch, cw = min(coarse * 2**o, h), min(max(1, coarse * 2**o * w // h), w)
        small = rng.standard_normal((max(ch, 2), max(cw, 2))).astype(np.float32)
        out += amp * cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
        amp *= gain
    return np.asarray(out / 2.0, np.float32)


def plain(h: int, w: int, colour: Array) -> Image:
    """One colour."""
    return np.broadcast_to(np.asarray(colour, np.float32), (h, w, 3)).copy()


def speckle(rng: np.random.Generator, tex: Image, coarse: float, fine: float) -> Image:
    """The texture with broad and fine brightness noise."""
    h, w = tex.shape[:2]
    n = coarse * fractal(rng, h, w) + fine * rng.standard_normal((h, w)).astype(np.float32)
    return np.asarray(np.clip(tex * (1 + n[..., None]), 0, 1), np.float32)


def planks(rng: np.random.Generator, h: int, w: int, colour: Array, width: int, length: int) -> Image:
    """A wooden floor."""
    tones = rng.normal(1, 0.07, (h // width + 2, w // length + 3)).astype(np.float32)
    y, x = np.mgrid[0:h, 0:w]
    row = y // width
    shift = rng.integers(0, length, h // width + 2)[row]
    tone = tones[row, (x + shift) // length]
    grain = cv2.resize(rng.normal(0, 0.03, (h, max(w // 40, 2))).astype(np.float32), (w, h))
    return np.asarray(np.clip(plain(h, w, colour) * (tone + grain)[..., None], 0, 1), np.float32)


def board(rng: np.random.Generator, h: int, w: int, panels: int, palette: Sequence[Array]) -> Image:
    """A row of advertising panels with invented names."""
    tex = np.zeros((h, w, 3), np.float32)
    edges = np.linspace(0, w, panels + 1).astype(int)
    for a, b in itertools.pairwise(edges):
        back = palette[int(rng.integers(len(palette)))]
        tex[:, a:b] = back
        ink = vec(1, 1, 1) if back.mean() < 0.55 else palette[int(rng.integers(len(palette)))] * 0.4
        word = WORDS[int(rng.integers(len(WORDS)))]
        scale = h / 42
        (tw, th), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
        scale *= min(1.0, 0.85 * (b - a) / max(tw, 1))
        (tw, th), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
        at = (a + (b - a - tw) // 2, (h + th) // 2)
        mask = np.zeros((h, w), np.uint8)  # text is drawn on 8-bit pictures only
        cv2.putText(mask, word, at, cv2.FONT_HERSHEY_DUPLEX, scale, (255,), max(1, int(h / 16)), cv2.LINE_AA)
        tex += (ink.astype(np.float32) - tex) * (mask[..., None] / np.float32(255))
        cv2.rectangle(tex, (a, 0), (b - 1, h - 1), (back * 0.7).tolist(), max(1, h // 40))
    return tex


def crowd(
    rng: np.random.Generator, rows: int, cols: int, density: float, seat: Array, cell: int = 18
) -> Image:
    """A stand seen from the front: rows of seats, some with people on them."""
    h, w = rows * cell, cols * cell
    tex = plain(h, w, seat * 0.35)
    shirts = [hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.15, 0.8)) for _ in range(14)]
    shirts += [vec(0.85, 0.85, 0.85), vec(0.1, 0.1, 0.1), vec(0.2, 0.12, 0.1)] * 3
    for r in range(rows):
        y = r * cell
        cv2.rectangle(tex, (0, y + int(cell * 0.85)), (w, y + cell), (seat * 0.2).tolist(), -1)
        for c in range(cols):
            x = int((c + 0.5 + rng.normal(0, 0.06)) * cell)
            if rng.random() > density:
                cv2.rectangle(
                    tex,
                    (x - cell // 3, y + cell // 3),
                    (x + cell // 3, y + int(cell * 0.85)),
                    (seat * rng.uniform(0.7, 0.9)).tolist(),
                    -1,
                )
                continue
            dark = rng.uniform(0.5, 0.95)
            shirt = shirts[int(rng.integers(len(shirts)))] * dark
            bob = int(rng.integers(-2, 3))
            cv2.ellipse(
                tex,
                (x, y + int(cell * 0.8) + bob),
                (int(cell * 0.42), int(cell * 0.5)),
                0,
                0,
                360,
                shirt.tolist(),
                -1,
                cv2.LINE_AA,
            )
            skin = vec(0.45, 0.58, 0.82) * rng.uniform(0.35, 1.0) * dark
            head = (x + int(rng.integers(-1, 2)), y + int(cell * 0.24) + bob)
            cv2.circle(tex, head, int(cell * 0.23), skin.tolist(), -1, cv2.LINE_AA)
            hair = vec(0.08, 0.1, 0.14) * rng.uniform(0.3, 3.0)
            cv2.ellipse(
                tex,
                (head[0], head[1] - cell // 14),
                (int(cell * 0.23), int(cell * 0.18)),
                0,
                180,
                360,
                hair.tolist(),
                -1,
                cv2.LINE_AA,
            )
    light = 1 + 0.25 * fractal(rng, h, w, 2, 2)
    return np.asarray(np.clip(tex * light[..., None], 0, 1), np.float32)


def sky(rng: np.random.Generator, h: int, w: int, overcast: float, horizon: Array, zenith: Array) -> Image:
    """A sky from horizon (bottom row) to zenith (top row) with clouds."""
    t = np.linspace(1, 0, h, dtype=np.float32)[:, None, None]
    tex = horizon * (1 - t) + zenith * t
    tex = np.broadcast_to(tex, (h, w, 3)).astype(np.float32)
    noise = fractal(rng, h, w, 3, 6, 0.6)
    cloud = np.clip((noise + overcast - 0.4) * 1.6, 0, 1)[..., None]
    body = np.float32(0.95) - 0.25 * np.clip(fractal(rng, h, w, 3, 5) + 0.3, 0, 1)[..., None]
    return np.asarray(tex * (1 - cloud) + body * cloud, np.float32)


def _line(rng: np.random.Generator, w: int, waves: Sequence[tuple[int, float]]) -> Image:
    """Noise of `w` samples, mean 0: bumps of each (width in samples, height)."""
    total = np.zeros(w, np.float32)
    for width, amp in waves:
        bumps = rng.random((1, w // width + 2)).astype(np.float32)
        total += amp * cv2.resize(bumps, (w, 1), interpolation=cv2.INTER_CUBIC)[0]
    return np.asarray(total - total.mean())


def foliage(
    rng: np.random.Generator, h: int, w: int, colour: Array, ragged: float = 0.35, rough: float = 1.0
) -> Image:
    """A tree line with alpha; `ragged` is how far its upper edge climbs, `rough` how jagged it is."""
    tone = 1 + 0.45 * fractal(rng, h, w, 10, 5, 0.75)
    tex = np.clip(colour * tone[..., None] * np.linspace(1.15, 0.6, h)[:, None, None], 0, 1)
    edge = _line(rng, w, ((300, 1.6), (110, 0.6))) + 0.5 * rough * _line(
        rng, w, ((60, 0.6), (24, 0.6), (9, 0.35))
    )
    edge = h * (ragged + ragged * 0.8 * np.clip(edge, -1, 1))
    noise = fractal(rng, h, w, 20, 3) * h * 0.05
    alpha = np.clip(np.arange(h)[:, None] - edge[None] + noise, 0, 2) / 2
    return np.concatenate([tex, alpha[..., None]], -1).astype(np.float32)


def lens(
    image: Image,
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    exposure: float,
    cast: Array,
    contrast: float,
    saturation: float,
    blur: float,
    grain: float,
    vignette: float,
    bloom: float,
) -> np.ndarray:
    """Linear picture at twice the size to an 8-bit BGR picture: bloom, vignette, tone, blur, grain."""
    w, h = size
    img = cv2.resize(image, size, interpolation=cv2.INTER_AREA) * np.float32(exposure)
    if bloom > 0:
        bright = np.maximum(img - 0.75, 0)
        img = img + bloom * cv2.GaussianBlur(bright, (0, 0), h / 30)
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    img = img * (1 - vignette * (x**2 + y**2) / 2)[..., None] * cast
    grey = img.mean(-1, keepdims=True)
    img = grey + (img - grey) * saturation
    img = np.maximum(img, 0)
    img = img / (1 + np.maximum(img - 0.7, 0) * 0.8)
    img = 0.5 + (np.clip(img, 0, 1.2) - 0.5) * contrast
    if blur > 0.15:
        img = cv2.GaussianBlur(img, (0, 0), blur)
    if grain > 0:
        noise = rng.standard_normal((h, w, 1)) * grain + rng.standard_normal((h, w, 3)) * grain * 0.4
        img = img + noise
    return np.asarray(np.clip(img * 255 + 0.5, 0, 255), np.uint8)
