"""How well ``sports`` learns labels that it is not told of: some are left out, then learned from examples.

    python -m tests.few_shot_report ../shared/data [--split valid] [--draws 20] [--out 5] [--cache FILE]

For every draw some sports are taken away from the model (their columns of its probabilities, and their images
of the reference) and learned from a few training images each. The network itself was trained with them, so
its features know more of these labels than of one that is really new. Examples and reference are training
images; only the images of ``--split`` are judged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.artifact import Artifact, load_artifact
from models.datasets import BACKGROUND, Collection, Sample, of_split, read_image
from models.few_shot import evaluate_episodes
from models.prototypes import Floats, Prototypes, Reference, joined
from models.references import chosen_samples, network_of
from service.engines import open_engine

ENTER = 0.6
COLUMNS = (
    "all sports",
    "known before",
    "known lost",
    "new found",
    "new that start an event",
    "background that starts a new label's event",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with sports/ and background/")
    parser.add_argument("--model", default="sports")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--out", type=int, default=5, help="labels left out")
    parser.add_argument("--cache", type=Path, help="where features are kept, of one model and split")
    options = parser.parse_args()
    artifact = load_artifact(options.model)
    features, known, truth, judged = embedded(artifact, options.data, options.split, options.cache)
    rows = np.isin(truth, np.flatnonzero(np.array(artifact.labels) != BACKGROUND)) & judged
    reference = Reference.of(features[~judged], truth[~judged], artifact.labels)
    for shots in (1, 5):
        print(evaluate_episodes(reference.embed(features[rows]), truth[rows], shots=shots))
    print("examples | " + " | ".join(COLUMNS))
    for count in (5, 10, 20):
        figures = np.array(
            [
                one_draw(artifact.labels, features, known, truth, judged, options.out, count, seed)
                for seed in range(options.draws)
            ]
        )
        cells = (f"{m:.3f} ± {s:.3f}" for m, s in zip(figures.mean(axis=0), figures.std(axis=0), strict=True))
        print(f"{count:8} | " + " | ".join(cells), flush=True)


def embedded(
    artifact: Artifact, data: Path, split: str, cache: Path | None
) -> tuple[Floats, Floats, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Features, probabilities, truth, and which rows are of ``split`` rather than training images."""
    collection = Collection.divided_as(
        artifact.record("training"), data / "sports", background=data / "background"
    )
    samples = collection.load()
    training = chosen_samples(of_split(samples, "train"), artifact.labels, 1)
    chosen: Sequence[Sample] = [*training, *of_split(samples, split)]
    truth = np.array([artifact.labels.index(sample.label) for sample in chosen], np.int64)
    judged = np.arange(len(chosen)) >= len(training)
    made_of = "\n".join([network_of(artifact), *(str(sample.path) for sample in chosen)])
    if cache and cache.is_file():
        with np.load(cache) as file:
            if "made_of" in file and file["made_of"] == made_of:
                return file["features"], file["known"], truth, judged
    engine = open_engine(artifact, batch_size=16)
    parts = []
    for start in range(0, len(chosen), 16):
        images = [read_image(sample.path) for sample in chosen[start : start + 16]]
        inputs = [engine.model_input(image, view) for view, image in enumerate(images, start)]
        parts.append(engine.embed(np.stack(inputs)))
    known, features = (np.concatenate(part) for part in zip(*parts, strict=True))
    if cache:
        with cache.open("wb") as file:  # which gets no other name by NumPy, as a path without .npz would
            np.savez(file, features=features, known=known, made_of=made_of)
    return features, known, truth, judged


def one_draw(
    labels: tuple[str, ...],
    features: Floats,
    probabilities: Floats,
    truth: npt.NDArray[np.int64],
    judged: npt.NDArray[np.bool_],
    out: int,
    count: int,
    seed: int,
) -> list[float]:
    """The figures of ``COLUMNS`` for one choice of labels and examples."""
    rng = np.random.default_rng(seed)
    background = labels.index(BACKGROUND)
    sports = np.array([i for i in range(len(labels)) if i != background])
    held = np.sort(rng.choice(sports, out, replace=False))
    kept = np.array([i for i in range(len(labels)) if i not in held])
    train = ~judged & np.isin(truth, kept)
    places = np.searchsorted(kept, truth[train])
    reference = Reference.of(features[train], places, [labels[i] for i in kept])
    examples = {
        labels[i]: features[rng.choice(np.flatnonzero(~judged & (truth == i)), count, replace=False)]
        for i in held
    }
    before = np.zeros((int(judged.sum()), len(labels)), np.float32)
    before[:, kept] = probabilities[judged][:, kept]
    before /= before.sum(axis=1, keepdims=True)
    after = np.zeros_like(before)
    logits = Prototypes.fit(examples, reference).logits(features[judged])
    after[:, [*kept, *held]] = joined(before[:, kept], logits)
    answers = truth[judged]

    def right(rows: npt.NDArray[np.bool_], shares: Floats) -> float:
        return float((sports[shares[rows][:, sports].argmax(axis=1)] == answers[rows]).mean())

    is_sport, is_new, is_background = answers != background, np.isin(answers, held), answers == background
    is_known = is_sport & ~is_new
    own = after[is_new, answers[is_new]]
    return [
        right(is_sport, after),
        right(is_known, before),
        right(is_known, before) - right(is_known, after),
        right(is_new, after),
        float((own >= ENTER).mean()),
        float((after[is_background][:, held].max(axis=1) >= ENTER).mean()) if is_background.any() else 0.0,
    ]


if __name__ == "__main__":
    main()
