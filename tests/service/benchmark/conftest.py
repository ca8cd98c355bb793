"""What several tests of the benchmark need: stored networks, small enough to be run in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models import architectures
from models.artifact import save_artifact
from models.preprocessing import Preprocessing

LABELS = ("red", "blue", "background")


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network with random weights for images of 32×32."""
    return stored(tmp_path_factory.mktemp("models") / "tiny", "small_cnn")


@pytest.fixture(scope="session")
def clip_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``artifact``, of a network that judges windows of 8 frames."""
    return stored(tmp_path_factory.mktemp("models") / "tiny_clips", "small_c3d", filters=2, frames=8)


def stored(folder: Path, architecture: str, **options: Any) -> Path:
    preprocessing = Preprocessing(height=32, width=32)
    network = architectures.build(architecture, len(LABELS), preprocessing, **options)
    save_artifact(
        folder,
        network,
        name=folder.name,
        version="1",
        architecture=architecture,
        options=options,
        labels=LABELS,
        preprocessing=preprocessing,
        temperature=1.0,
        records={},
    )
    return folder
