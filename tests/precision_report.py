"""How far an exported network is from the reference: on labelled images, and in the events of real clips.

    python -m tests.precision_report NETWORK.xml [--data DIR] [--split test] [--clips [DIR]] [--stand-in XML]

The reference is the model in Keras. It takes a while on the clips; ``--stand-in`` names a network in single
precision to take its place there, once the first table has shown that the two are the same. Events are the
same if their labels are, and each starts and ends within 0.2 s.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from models.artifact import Artifact, load_artifact
from models.datasets import Collection, of_split
from models.openvino import compare
from service.config import RunSettings
from service.engines.keras import KerasClassifier
from service.engines.openvino import OpenvinoClassifier
from service.pipeline import RunResult, run
from service.progress import evaluate_shown
from service.sources import open_source
from service.types import Classifier
from tests.clips_report import CLIPS, SAME, are_same, listed, written

PUBLISHED = ("badminton", "formula1", "volleyball")
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", type=Path, help="the exported network")
    parser.add_argument("--model", default="sports")
    parser.add_argument("--data", type=Path, help="folder with sports/ and background/")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=Path, nargs="?", const=CLIPS, help="folder with clips.csv")
    parser.add_argument("--stand-in", type=Path, help="a network in single precision, for the clips")
    options = parser.parse_args()
    artifact = load_artifact(options.model)
    exported = OpenvinoClassifier(artifact, options.network, batch_size=BATCH)
    if options.data is not None:
        reference = KerasClassifier(artifact, batch_size=BATCH)
        print(json.dumps(on_images(artifact, options.data, options.split, reference, exported), indent=1))
    if options.clips is not None:
        other: Classifier = (
            OpenvinoClassifier(artifact, options.stand_in, batch_size=BATCH)
            if options.stand_in is not None
            else KerasClassifier(artifact, batch_size=BATCH)
        )
        on_clips(options.clips, other, exported)


def on_images(
    artifact: Artifact, data: Path, split: str, reference: Classifier, exported: Classifier
) -> dict[str, object]:
    """Agreement on the images of ``split``, and the accuracies on the published three labels, too."""
    training = artifact.record("training")
    collection = Collection.divided_as(training, data / "sports", background=data / "background")
    samples = of_split(collection.load(), split)
    engines = {"reference": reference, "exported": exported}
    both = [evaluate_shown(engine, samples, name) for name, engine in engines.items()]
    three = [round(one.restricted(PUBLISHED).accuracy, 4) for one in both]
    return {**compare(*both), "three_labels": {"reference_accuracy": three[0], "accuracy": three[1]}}


def on_clips(root: Path, reference: Classifier, exported: Classifier) -> None:
    """A line for every clip, then how many have the same events."""
    same = []
    for file, _, _ in listed(root):
        one, other = (events_of(root / file, engine) for engine in (reference, exported))
        same.append(are_same(one, other, SAME))
        print("same     " if same[-1] else "DIFFERENT", file, flush=True)
        if not same[-1]:
            print("   reference:", "; ".join(written(one)))
            print("   exported: ", "; ".join(written(other)), flush=True)
    print(f"same events on {np.sum(same)} of {len(same)} clips")


def events_of(path: Path, classifier: Classifier) -> RunResult:
    with open_source(str(path)) as source:
        return run(source, path.stem, classifier, RunSettings())


if __name__ == "__main__":
    main()
