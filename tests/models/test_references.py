"""Which images the reference of a model is made from, and how they are seen."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from models.artifact import CARD, WEIGHTS
from models.datasets import Sample, load_folder
from models.preprocessing import Image
from models.prototypes import Floats
from models.references import chosen_samples, make_reference

LABELS = ("blue", "green", "red")


def test_images_are_seen_in_each_view_in_turn(color_folder: Path, tmp_path: Path) -> None:
    """As frames are: the views go on from batch to batch."""
    (tmp_path / CARD).write_text(json.dumps({"files": {WEIGHTS: "0"}}))
    views: list[int] = []

    def model_input(image: Image, view: int) -> Image:
        views.append(view)
        return image[:4, :4]

    def embed(inputs: np.ndarray) -> tuple[Floats, Floats]:
        features = inputs.reshape(len(inputs), -1).astype(np.float32)
        return features[:, :3], features

    preprocessing = SimpleNamespace(model_input=model_input)
    artifact = SimpleNamespace(folder=tmp_path, labels=LABELS, preprocessing=preprocessing)
    samples = [sample for sample in load_folder(color_folder) if sample.path.stem < "03"]
    make_reference(artifact, samples, embed, batch_size=5)
    assert views == list(range(9))


def test_two_hundred_images_of_a_label_are_enough() -> None:
    """Of more the seed chooses; of fewer all are taken, and no label is passed over."""
    counts = {"blue": 300, "green": 150, "red": 1}
    samples = [Sample(Path(f"{n}.png"), label, "train") for label, n in counts.items() for n in range(n)]
    chosen = chosen_samples(samples, LABELS, 1)
    assert [sum(one.label == label for one in chosen) for label in LABELS] == [200, 150, 1]
    assert len(set(chosen)) == 351
    assert chosen == chosen_samples(samples, LABELS, 1)
    assert chosen != chosen_samples(samples, LABELS, 2)
