"""Small real images on disk and networks of their own size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

COLORS = {"blue": (200, 40, 30), "green": (40, 200, 30), "red": (30, 40, 200)}


@pytest.fixture(scope="session")
def color_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty noisy images of each of three colours, as <label>/<image>."""
    root = tmp_path_factory.mktemp("colors")
    rng = np.random.default_rng(5)
    for label, color in COLORS.items():
        (root / label).mkdir()
        for number in range(20):
            noise = rng.normal(0, 25, (48, 64, 3))
            cv2.imwrite(
                str(root / label / f"{number:02}.png"), np.clip(noise + color, 0, 255).astype(np.uint8)
            )
    return root


@pytest.fixture(scope="session")
def group_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten grey images in each of three groups, as <group>/<image>."""
    root = tmp_path_factory.mktemp("groups")
    rng = np.random.default_rng(6)
    for group in ("street", "room", "field"):
        (root / group).mkdir()
        for number in range(10):
            grey = rng.integers(60, 160, (40, 40, 1)).astype(np.uint8)
            cv2.imwrite(str(root / group / f"{number}.png"), np.repeat(grey, 3, axis=2))
    return root
