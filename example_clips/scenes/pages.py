"""Pages, slides and test pictures: what a screen share or a document camera shows. No people, no sport."""

from __future__ import annotations

import string

import cv2
import numpy as np

from example_clips.scenes.camera import Image

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)


def render_page(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """One picture of ``size`` = (width, height), BGR uint8: a page on a table, a slide, a chart, a blank."""
    choice = rng.random()
    if choice < 0.5:
        picture = _on_table(rng, _page(rng), size)
    elif choice < 0.8:
        picture = cv2.resize(_slide(rng), size, interpolation=cv2.INTER_AREA)
    else:
        picture = _blank(rng, size)
    noise = rng.normal(0, rng.uniform(0, 8), (size[1], size[0], 3))
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def _words(rng: np.random.Generator, count: int) -> str:
    letters = list(string.ascii_lowercase * 3 + string.digits + string.ascii_uppercase + ".,:-")
    return " ".join("".join(rng.choice(letters, int(rng.integers(1, 10)))) for _ in range(count))


def _page(rng: np.random.Generator) -> Image:
    """A sheet of print: a letter, or a narrow receipt with a column of sums."""
    receipt = rng.random() < 0.5
    width, height = (int(rng.integers(220, 420)), int(rng.integers(450, 1000))) if receipt else (600, 840)
    light = np.linspace(1, rng.uniform(0.75, 1), height)[:, None, None]
    paper = (np.full((height, width, 3), rng.uniform(200, 250, 3)) * light).astype(np.uint8)
    font, ink = FONTS[int(rng.integers(len(FONTS)))], (float(rng.integers(10, 110)),) * 3
    scale = rng.uniform(0.35, 0.6)
    step = round(scale * rng.uniform(36, 60))
    y = int(rng.integers(20, 80))
    while y < height - 20:
        margin = int(rng.integers(10, 30))
        bold = rng.random() < 0.1
        if rng.random() < 0.85:
            words = int(rng.integers(1, 5 if receipt else 14))
            line_scale = scale * (1.7 if bold else 1)
            cv2.putText(paper, _words(rng, words), (margin, y), font, line_scale, ink, 1 + bold, cv2.LINE_AA)
            if receipt and rng.random() < 0.7:
                cv2.rectangle(paper, (width - 90, y - step), (width, y + 8), paper[y, 2].tolist(), -1)
                amount = f"{rng.uniform(0, 99):.2f}"
                cv2.putText(paper, amount, (width - 80, y), font, scale, ink, 1, cv2.LINE_AA)
        elif rng.random() < 0.4:
            cv2.line(paper, (margin, y), (width - margin, y), ink, 1)
        y += step
    return paper


def _on_table(rng: np.random.Generator, page: Image, size: tuple[int, int]) -> Image:
    """The page seen by a camera held over a table, a little askew."""
    width, height = size
    table = np.full((height, width, 3), rng.uniform(20, 200, 3), np.float32)
    grain = cv2.resize(rng.normal(0, 12, (height // 4, 6)), (width, height)).astype(np.float32)
    table += grain[..., None]
    rows, columns = page.shape[:2]
    fit = min(width / columns, height / rows) * rng.uniform(0.8, 2.2)
    middle = np.array([width, height]) * rng.uniform(0.4, 0.6, 2)
    angle = rng.normal(0, 0.2) + (np.pi / 2 if rng.random() < 0.15 else 0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float64)
    seen = (corners - [columns / 2, rows / 2]) * fit @ turn.T + middle
    seen += rng.normal(0, 0.03 * min(size), seen.shape)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    laid = cv2.warpPerspective(page, matrix, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.ones((rows, columns), np.float32), matrix, size)[..., None]
    return np.asarray(np.clip(table * (1 - mask) + laid * mask, 0, 255), np.uint8)


def _slide(rng: np.random.Generator) -> Image:
    """A slide or a desktop: a ground, a title, and text, boxes, bars or a curve."""
    dark = rng.random() < 0.4
    low, high = (0, 70) if dark else (190, 256)
    slide = np.full((540, 960, 3), rng.integers(low, high, 3), np.uint8)
    ink = (235.0,) * 3 if dark else (30.0,) * 3
    font = FONTS[int(rng.integers(len(FONTS)))]
    cv2.putText(slide, _words(rng, 3), (50, 80), font, rng.uniform(1, 2), ink, 2, cv2.LINE_AA)
    for part in range(2):
        left, right = 50 + 450 * part, 450 + 450 * part
        kind = rng.random()
        if kind < 0.4:
            for y in range(140, 500, int(rng.integers(28, 60))):
                text = "- " + _words(rng, int(rng.integers(1, 6)))
                cv2.putText(slide, text, (left, y), font, rng.uniform(0.5, 0.8), ink, 1, cv2.LINE_AA)
        elif kind < 0.7:
            for x in range(left, right - 20, 50):
                color = rng.uniform(0, 256, 3).tolist()
                cv2.rectangle(slide, (x, int(rng.integers(150, 460))), (x + 36, 480), color, -1)
        elif kind < 0.85:
            curve = 480 - np.abs(np.cumsum(rng.normal(0, 20, 80))) % 340
            points = np.column_stack([np.linspace(left, right, 80), curve]).astype(np.int32)
            cv2.polylines(slide, [points], False, rng.uniform(0, 256, 3).tolist(), 3, cv2.LINE_AA)
        else:
            for _ in range(int(rng.integers(2, 7))):
                x, y = int(rng.integers(left, right - 80)), int(rng.integers(140, 420))
                color = rng.uniform(0, 256, 3).tolist()
                cv2.rectangle(slide, (x, y), (x + 90, y + 60), color, -1 if rng.random() < 0.5 else 2)
    return slide


def _blank(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """No picture: one colour, a gradient, colour bars, or snow."""
    width, height = size
    choice = rng.random()
    if choice < 0.35:
        picture = np.full((height, width, 3), rng.uniform(0, 256, 3))
    elif choice < 0.6:
        corners = rng.uniform(0, 256, (2, 2, 3)).astype(np.float32)
        picture = cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR)
    elif choice < 0.8:
        bars = rng.permutation([[b, g, r] for b in (0, 191) for g in (0, 191) for r in (0, 191)])
        picture = cv2.resize(bars[None].astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    else:
        small = (max(1, width // int(rng.integers(1, 5))), max(1, height // int(rng.integers(1, 5))))
        snow = rng.normal(rng.uniform(60, 180), rng.uniform(20, 80), (small[1], small[0], 1))
        picture = cv2.resize(np.repeat(snow, 3, axis=2).astype(np.float32), size)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)
