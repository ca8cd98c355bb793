"""Render still pictures to train on: python -m example_clips.training_images FOLDER [--count 150]

The scenes are those of the example clips with other seeds, so that no training picture is a frame of a
clip. Folders are named by their label, as ``video-events train --extra FOLDER`` wants them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from example_clips.render import render_scene
from example_clips.scenes.pages import render_page

LABELS = ("badminton", "volleyball", "formula1", "background")
SIZES = [(448, 252)] * 5 + [(426, 240), (384, 288), (400, 300), (480, 270), (320, 320)]
SIZES += [(288, 384), (252, 448), (512, 288), (448, 200)]
FIRST_SEED = 10_000
"""The clips are made from seeds below."""


def main() -> None:
    """Render ``--count`` pictures of each label, and as many pages and blanks for the background."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=150, help="pictures a label (default: 150)")
    options = parser.parse_args()
    for place, label in enumerate((*LABELS, "page")):
        folder = options.folder / ("background" if label == "page" else label)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.count):
            rng = np.random.default_rng(FIRST_SEED * (1 + place) + number)
            size = SIZES[int(rng.integers(len(SIZES)))]
            image = render_page(rng, size) if label == "page" else next(render_scene(label, rng, size, 1))
            name = f"page_{number:04}.jpg" if label == "page" else f"{number:04}.jpg"
            quality = int(rng.integers(45, 96))
            if not cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, quality]):
                raise SystemExit(f"cannot write {folder / name}")
        print(f"{label}: {options.count}")


if __name__ == "__main__":
    main()
