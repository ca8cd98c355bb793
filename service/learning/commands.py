"""What the command ``learn`` does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer

from models.artifact import load_artifact
from models.counted import counted
from models.datasets import Collection, Sample, learnt_from, of_split, read_image, trained_on
from models.prototypes import Prototypes
from service.engines import Engine
from service.engines.stored import StoredModel
from service.errors import LearningError
from service.learning.engine import LearnedClassifier, LearnedModel
from service.learning.examples import gather
from service.learning.lessons import check_count, check_name, embed_all, learn, study, up_to_date
from service.learning.places import user_folder
from service.learning.store import LabelState

BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, and which folder of learned labels (``None``: the user's own)."""

    model: str
    engine: Engine
    learned: Path | None

    def find(self) -> LearnedModel:
        """Raises ModelError for a model that is not there."""
        return LearnedModel(StoredModel.read(self.model, self.engine), self.learned or user_folder())

    def open(self, model: LearnedModel) -> LearnedClassifier:
        """Load the network. Raises LearningError for one that cannot learn."""
        classifier = up_to_date(model, model.base.open(BATCH))
        assert isinstance(classifier, LearnedClassifier)
        return classifier


def learn_label(
    choice: ModelChoice, name: str, sources: list[str], *, force: bool, shadow: bool, as_json: bool
) -> None:
    """Learn, and say what the examples are worth."""
    model = choice.find()
    model.check_reference()
    taken = (*model.classes, *(label.name for label in model.store.load().labels))
    check_name(name, taken)
    examples = gather(sources)
    check_count(len(examples), force)
    classifier = choice.open(model)
    lesson = study(examples, model.classes, model, classifier.embed)
    state = LabelState.SHADOW if shadow else LabelState.SERVED
    label = learn(lesson, name, state, model.network, model.store)
    found, others = _left_out(classifier, name, lesson.known, lesson.features)
    if as_json:
        document = {"label": name, "state": state, "examples": label.examples, "model": model.name}
        figures = {"recognised_when_left_out": found, "warnings": list(label.warnings)}
        typer.echo(json.dumps(document | figures))
        return
    for warning in label.warnings:
        typer.echo(f"warning: {warning}", err=True)
    where = "on trial" if shadow else "learned"
    typer.echo(
        f"{name} is {where} with {counted(label.examples, 'example')} ({model.name}, {model.store.folder})"
    )
    if len(examples) > 1:
        typer.echo(f"each left out in turn, {found} of {label.examples} are recognised by the others{others}")


def list_labels(choice: ModelChoice, as_json: bool) -> None:
    """Print what a model has learned."""
    model = choice.find()
    labels = model.store.load().labels
    if as_json:
        typer.echo(json.dumps([asdict(label) for label in labels]))
        return
    if not labels:
        typer.echo(f"{model.short_name} has learned nothing yet ({model.store.folder})")
    for label in labels:
        day = datetime.fromtimestamp(label.created_at).strftime("%Y-%m-%d")
        state = "on trial" if label.state is LabelState.SHADOW else "served"
        typer.echo(
            f"{label.name}: {state}, {counted(label.examples, 'example')}, {day}, features of {label.model}"
        )


def remove_label(choice: ModelChoice, name: str, as_json: bool) -> None:
    """Forget a label."""
    choice.find().store.remove(name)
    typer.echo(json.dumps({"label": name, "removed": True}) if as_json else f"{name} is forgotten")


def evaluate_labels(choice: ModelChoice, data: Path, split: str, as_json: bool) -> None:
    """Compare the model with and without its learned labels on labelled images.

    ``split`` may be ``all``: those of ``data`` that the model was not trained on.
    """
    model = choice.find()
    names = [label.name for label in model.store.load().labels]
    record = load_artifact(choice.model).record("training")
    samples = Collection.divided_as(record, data).load()
    if split == "all":
        seen = set(trained_on(samples, learnt_from(record)))
        samples = [sample for sample in samples if sample not in seen]
    else:
        samples = of_split(samples, split)
    samples = [sample for sample in samples if sample.label in (*model.classes, *names)]
    if not samples:
        raise LearningError(f"{data} has no images of split {split!r} with labels of {model.name}")
    figures = _figures(choice.open(model), model, samples)
    if as_json:
        typer.echo(json.dumps({"model": model.name, "split": split, **figures}))
        return
    if figures["known"]["n"]:
        known = figures["known"]
        typer.echo(
            f"known labels: {known['before']:.4f} right before, {known['after']:.4f} with what was learned "
            f"({counted(known['n'], 'image')})"
        )
    for name, row in figures["learned"].items():
        typer.echo(
            f"{name}: {row['recall']:.4f} found ({counted(row['n'], 'image')}), "
            f"{row['false']} others taken for it"
        )


def _figures(classifier: LearnedClassifier, model: LearnedModel, samples: list[Sample]) -> dict[str, Any]:
    before, after = [], []
    for start in range(0, len(samples), BATCH):
        images = [read_image(sample.path) for sample in samples[start : start + BATCH]]
        without, with_learned = embed_all(
            images, model, lambda seen: (classifier.embed(seen)[0], classifier.classify(seen))
        )
        before.append(without.argmax(axis=1))
        after.append(with_learned.argmax(axis=1))
    labels = classifier.labels
    truth = [sample.label for sample in samples]
    was = [model.classes[i] for i in np.concatenate(before)]
    now = [labels[i] for i in np.concatenate(after)]
    rows = [i for i, label in enumerate(truth) if label in model.classes]
    learned = {}
    for name in labels[len(model.classes) :]:
        own = [i for i, label in enumerate(truth) if label == name]
        learned[name] = {
            "n": len(own),
            "recall": round(sum(now[i] == name for i in own) / max(1, len(own)), 4),
            "false": sum(now[i] == name and truth[i] != name for i in range(len(truth))),
        }
    known = {
        "n": len(rows),
        "before": round(sum(was[i] == truth[i] for i in rows) / max(1, len(rows)), 4),
        "after": round(sum(now[i] == truth[i] for i in rows) / max(1, len(rows)), 4),
    }
    return {"known": known, "learned": learned}


def _left_out(
    classifier: LearnedClassifier, name: str, known: np.ndarray, features: np.ndarray
) -> tuple[int, str]:
    """How many examples the others would recognise, and what the rest would be taken for."""
    missed: list[str] = []
    for i in range(len(features)):
        others = np.delete(features, i, axis=0)
        if not len(others):
            continue
        prototypes = Prototypes.fit({name: others}, classifier.reference)
        if prototypes.logits(features[i : i + 1])[0, 0] <= np.log(max(1e-9, float(known[i].max()))):
            missed.append(classifier.labels[int(known[i].argmax())])
    if not missed:
        return len(features), ""
    counts = sorted({(missed.count(label), label) for label in missed}, reverse=True)
    return len(features) - len(missed), "; the rest as " + ", ".join(f"{n} {label}" for n, label in counts)
