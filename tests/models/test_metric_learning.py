"""Networks that learn distances, and episodes that judge them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.errors import DatasetError
from models.few_shot import evaluate_episodes


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clusters(spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of 12 images of each of 7 labels."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(7), 12)
    return unit(rng.normal(size=(7, 16))[truth] + spread * rng.normal(size=(84, 16))), truth


def test_episodes_are_the_same_by_seed_and_tell_good_from_bad() -> None:
    """Tight clusters are recognised, noise is not beyond chance, and a seed gives one result."""
    tight, truth = clusters(0.05)
    noise = unit(np.random.default_rng(1).normal(size=(84, 16)))
    good = evaluate_episodes(tight, truth, ways=5, shots=1, episodes=60)
    bad = evaluate_episodes(noise, truth, ways=5, shots=1, episodes=200)
    assert good.accuracy > 0.99
    assert abs(bad.accuracy - 0.2) < 3 * bad.interval
    assert good == evaluate_episodes(tight, truth, ways=5, shots=1, episodes=60)
    assert bad != evaluate_episodes(noise, truth, ways=5, shots=1, episodes=200, seed=2)


def test_episodes_need_enough_images() -> None:
    """More labels or examples than there are is told, not padded."""
    embeddings, truth = clusters(0.1)
    with pytest.raises(DatasetError, match="found 7"):
        evaluate_episodes(embeddings, truth, ways=8)
    with pytest.raises(DatasetError, match="more than 12"):
        evaluate_episodes(embeddings, truth, ways=2, shots=12)


def by_hand(embeddings: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Both losses, written out pair by pair and triplet by triplet."""
    squares = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    alike, other, triplets = [], [], []
    for i in range(len(truth)):
        for j in range(len(truth)):
            if i == j:
                continue
            if truth[i] != truth[j]:
                other.append(max(0.0, 1 - squares[i, j] ** 0.5) ** 2)
                continue
            alike.append(squares[i, j])
            negatives = [squares[i, k] for k in range(len(truth)) if truth[k] != truth[i]]
            further = [d for d in negatives if d > squares[i, j]]
            triplets.append(max(0.0, squares[i, j] - (min(further) if further else max(negatives)) + 0.2))
    return float(np.mean(alike) + np.mean(other)), float(np.mean(triplets))


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.5])
def test_losses_are_those_of_the_papers(spread: float) -> None:
    """The losses of a batch equal a plain transcription of their definitions."""
    from models.metric_learning import contrastive_loss, semi_hard_triplet_loss

    embeddings, truth = clusters(spread)
    embeddings, truth = embeddings[::3], truth[::3]
    targets = np.eye(7, dtype=np.float32)[truth]
    contrastive, triplet = by_hand(embeddings.astype(np.float64), truth)
    assert float(contrastive_loss(targets, embeddings)) == pytest.approx(contrastive, rel=1e-3, abs=1e-4)
    assert float(semi_hard_triplet_loss(targets, embeddings)) == pytest.approx(triplet, rel=1e-3, abs=1e-4)


def test_every_epoch_is_validated_on_the_same_pairs(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several labels in a batch; other pairs would have another loss."""
    from models.datasets import load_folder
    from models.presets import with_overrides
    from models.train import Training

    given = []
    monkeypatch.setattr("models.train.fit_embedding", lambda *places, **_: given.append(places[4]))
    settings = with_overrides(architecture="siamese", batch_size=4)
    Training(load_folder(color_folder, valid_fraction=0.5), tmp_path, settings, verbose=0).fit()
    images, targets = given[0][0]
    given[0].on_epoch_end()
    np.testing.assert_array_equal(given[0][0][0], images)
    assert len(set(targets.argmax(axis=1))) > 1


@pytest.mark.parametrize("architecture", ["siamese", "triplet"])
def test_training_brings_images_of_a_label_together(architecture: str, tmp_path: Path) -> None:
    """A few epochs on coloured pictures make an artifact's network that knows them, through prototypes."""
    from dataclasses import replace

    from models import architectures
    from models.datasets import load_folder
    from models.preprocessing import Preprocessing
    from models.train import Training

    rng = np.random.default_rng(0)
    for label, colour in {"red": (40, 40, 220), "green": (40, 220, 40), "blue": (220, 40, 40)}.items():
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(20):
            image = np.clip(rng.normal(0, 30, (24, 24, 3)) + colour, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "data" / label / f"{number}.png"), image)
    found = architectures.find(architecture)
    preprocessing = Preprocessing(height=16, width=16, mean=(0.0, 0.0, 0.0), scale=1 / 255)
    settings = replace(
        found.settings,
        preprocessing=preprocessing,
        options={"filters": 4, "size": 8},
        batch_size=16,
        epochs=8,
        patience=0,
    )
    training = Training(load_folder(tmp_path / "data"), tmp_path / "run", settings, verbose=0)
    network = training.fit()
    inputs = np.stack([preprocessing.model_input(cv2.imread(str(s.path))) for s in training.valid])
    guesses = np.asarray(network(inputs.astype(np.float32))).argmax(axis=1)
    assert [training.labels[i] for i in guesses] == [sample.label for sample in training.valid]
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    losses = [float(line.split(",")[1]) for line in lines[1:]]
    assert losses[-1] < losses[0]
