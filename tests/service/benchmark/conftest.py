"""What several tests of the benchmark need: a stored network, small enough to be run in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import architectures
from models.artifact import save_artifact
from models.preprocessing import Preprocessing

LABELS = ("red", "blue", "background")


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network with random weights for images of 32×32."""
    preprocessing = Preprocessing(height=32, width=32)
    network = architectures.build("small_cnn", len(LABELS), preprocessing)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_artifact(
        folder,
        network,
        name="tiny",
        version="1",
        architecture="small_cnn",
        options={},
        labels=LABELS,
        preprocessing=preprocessing,
        temperature=1.0,
        records={},
    )
    return folder
