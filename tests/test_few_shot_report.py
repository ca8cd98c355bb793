"""Which features the report of few examples works on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from models.artifact import CARD, WEIGHTS
from tests import few_shot_report

LABELS = ("red", "blue", "background")


def model(folder: Path, weights: int) -> Any:
    folder.mkdir()
    (folder / CARD).write_text(json.dumps({"files": {WEIGHTS: str(weights)}}))
    return SimpleNamespace(folder=folder, labels=LABELS, weights=weights, record=lambda name: {})


def engine_of(artifact: Any, batch_size: int) -> Any:
    """All features are the model's ``weights``."""
    return SimpleNamespace(
        model_input=lambda image, view: image,
        embed=lambda inputs: (np.zeros((len(inputs), 3)), np.full((len(inputs), 4), artifact.weights)),
    )


def test_kept_features_are_those_of_the_same_model_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of another model, or of another split, would make figures that look right and are not.

    They are found again whatever the file is called.
    """
    for folder in ("sports/red", "sports/blue", "background/street"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(10):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    cache = tmp_path / "features"
    first, second = model(tmp_path / "first", 1), model(tmp_path / "second", 2)
    opened: list[int] = []

    def open_engine(artifact: Any, batch_size: int) -> Any:
        opened.append(artifact.weights)
        return engine_of(artifact, batch_size)

    def features(artifact: Any, split: str) -> Any:
        found, _, truth, _ = few_shot_report.embedded(artifact, tmp_path, split, cache)
        assert len(found) == len(truth)
        return np.unique(found).tolist()

    monkeypatch.setattr(few_shot_report, "open_engine", open_engine)
    assert [features(first, "valid") for _ in range(2)] == [[1], [1]]
    assert opened == [1]
    assert [features(second, "valid"), features(second, "test")] == [[2], [2]]
    assert opened == [1, 2, 2]
