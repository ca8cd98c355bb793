"""Which files are images; ``test_sources`` is about reading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.data.listing import IMAGE_SUFFIXES
from service.sources.images import find_images


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_what_a_model_learns_from_is_recognised_too(tmp_path: Path, suffix: str) -> None:
    """Whoever trains on a folder can run the model on its images: alone, as a folder and as a sequence."""
    image = tmp_path / f"1{suffix}"
    image.touch()
    for name in (image, tmp_path, tmp_path / f"%d{suffix}"):
        assert find_images(name) == [image]
