"""The commands about models: ``evaluate``, ``models list``, ``models show`` and ``models average``.

Like ``cli``, this module imports nothing heavy until a command runs.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.data.listing import BACKGROUND
from service.commands.export import describe
from service.commands.options import Background, Data, Groups, ImagenetWeights, Labels, Splits, names
from service.config import RunSettings
from service.engines import Engine, open_engine

if TYPE_CHECKING:
    from models.artifact import Artifact
    from models.datasets import Sample
    from models.evaluate import Evaluation

app = typer.Typer()
models_app = typer.Typer(help="The models that there are.", no_args_is_help=True)
app.add_typer(models_app, name="models")


@app.command()
def evaluate(
    data: Data,
    model: Annotated[str, typer.Option(help="Name of a model that ships, or a model's folder.")] = "sports",
    split: Annotated[str, typer.Option(help="Which images: train, valid or test.")] = "test",
    splits: Splits = None,
    background: Background = None,
    valid_groups: Groups = None,
    test_groups: Groups = None,
    labels: Labels = None,
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = Engine.AUTO,
    enter: Annotated[
        float, typer.Option(help="Probability from which on an image would start an event.")
    ] = RunSettings().enter,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the full report here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Judge a model on labelled images: precision, recall and F1 by label, confusion, calibration.

    All labels of the model are judged; without images of the background, 'background' alone is left out. With
    --labels only the images of these labels count. Probabilities are renormalised over what is left; of a
    model with several views they are pooled over all views. Images that the model's own training had are in
    the split that they were in there. The groups of the background default to those of that training. A model
    that judges clips is judged on the videos of DATA/labels.csv, window by window.
    """
    from dataclasses import replace

    from models.artifact import load_artifact
    from models.datasets import Collection, learnt_from, of_split, trained_on
    from models.errors import ModelError
    from models.evaluate_clips import evaluate_clips, windows_of
    from models.extra import require_train_extra
    from models.report import make_folder, write_report
    from service.engines.stored import open_model
    from service.progress import evaluate_shown, progress_bar
    from service.windows import engine_of

    require_train_extra()
    if not 0 < enter <= 1:
        raise typer.BadParameter(f"--enter must be above 0 and at most 1, got {enter:g}")
    artifact = load_artifact(model)
    if output is not None:
        make_folder(output)
    if artifact.judges_clips:
        if any((splits, background, valid_groups, test_groups, labels)):
            raise ModelError(f"{artifact.name} judges videos; options about folders of images have no use")
        windows = windows_of(artifact, data, split)
        samples = [window.sample for window in windows]
        with progress_bar("windows", len(windows)) as advance_to:
            clips = engine_of(open_model(artifact, engine, batch_size=1))
            evaluation = evaluate_clips(windows, artifact.labels, clips, progress=advance_to)
    else:
        training = artifact.record("training")
        collection = Collection.divided_as(training, data, splits, background)
        if valid_groups:
            collection = replace(collection, valid_groups=names(valid_groups))
        if test_groups:
            collection = replace(collection, test_groups=names(test_groups))
        found = collection.load(names(labels) or None)
        samples = of_split(found, split)
        if not samples:
            there = ", ".join(sorted({sample.split for sample in found}))
            raise ModelError(f"{data} has no image in the split {split!r}; there are {there}: say --split")
        if split != "train" and (seen := trained_on(samples, learnt_from(training))):
            typer.echo(
                f"video-events: {artifact.name} has learned from {len(seen)} of these images", err=True
            )
        classifier = open_engine(artifact, engine, batch_size=16)
        evaluation = evaluate_shown(classifier, samples, "images")
        evaluation = evaluation.restricted(names(labels) or judged_labels(artifact.labels, samples))
    summary = evaluation.summary(enter)
    if as_json:
        typer.echo(json.dumps({"model": artifact.name, "split": split, **summary}, allow_nan=False))
    else:
        _show(evaluation, enter, split, artifact.labels if labels is None else (), _judged(artifact))
    if output is not None:
        write_report(output, evaluation, samples)


def _judged(artifact: Artifact) -> str:
    """What a model gives a label to."""
    return "windows" if artifact.judges_clips else "images"


def _show(evaluation: Evaluation, enter: float, split: str, known: Sequence[str], judged: str) -> None:
    """The figures of ``evaluate``; of ``known`` labels the background may have been left out."""
    from models.report import format_table

    summary = evaluation.summary(enter)
    typer.echo(format_table(evaluation))
    if len(evaluation.labels) < len(known):
        typer.echo(f"{BACKGROUND} is left out, as there is no image of it; the other labels share its part")
    typer.echo(f"accuracy {summary['accuracy']:.4f} on {summary['n']} {judged} of {split}")
    typer.echo(f"expected calibration error {summary['calibration_error']:.4f}")
    for name, rate in evaluation.event_rates(enter).items():
        typer.echo(f"share of {judged} of {name} that would start an event at {enter}: {rate:.4f}")


def judged_labels(labels: Sequence[str], samples: Sequence[Sample]) -> tuple[str, ...]:
    """All of a model's ``labels``, but the background only where there are images of it."""
    has_background = any(sample.label == BACKGROUND for sample in samples)
    return tuple(label for label in labels if has_background or label != BACKGROUND)


@models_app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """List the models that ship."""
    from models.artifact import list_artifacts, load_artifact

    artifacts = [load_artifact(name) for name in list_artifacts()]
    if as_json:
        rows = [{"name": a.name, "version": a.version, "labels": a.labels} for a in artifacts]
        typer.echo(json.dumps(rows))
        return
    for artifact in artifacts:
        typer.echo(
            f"{artifact.name} {artifact.version}: {artifact.architecture}, {len(artifact.labels)} labels"
        )


@models_app.command("architectures")
def list_architectures() -> None:
    """List the networks that train --architecture can make, with their options."""
    from models import architectures
    from service.engines.quiet import native_stderr_held

    with native_stderr_held():
        known = [architectures.find(name) for name in architectures.NAMES]
    for found in known:
        pre, options = found.preprocessing, ", ".join(f"{k}={v}" for k, v in found.options.items())
        typer.echo(f"{found.name} ({found.kind}, {pre.width}×{pre.height}): {options}\n    {found.paper}")


@models_app.command("show")
def show_model(
    model: Annotated[str, typer.Argument(help="Name of a model that ships, or a model's folder.")] = "sports",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show the labels of a model, what it does to an image, how good it is and how it was trained."""
    from models.artifact import load_artifact

    artifact = load_artifact(model)
    metrics, training = artifact.record("metrics"), artifact.record("training")
    training.pop("division", None)  # of use to programs that have the images, and long
    exports = artifact.record("export") if "export.json" in artifact.files else {}
    engines = [Engine.TENSORFLOW.value] + [Engine.OPENVINO.value] * bool(artifact.precisions)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "engines": engines,
                    "export": exports,
                    "name": artifact.name,
                    "version": artifact.version,
                    "architecture": artifact.architecture,
                    "labels": artifact.labels,
                    "preprocessing": artifact.preprocessing.to_dict(),
                    "temperature": artifact.temperature,
                    "metrics": metrics,
                    "training": training,
                }
            )
        )
        return
    pre = artifact.preprocessing
    typer.echo(f"{artifact.name} {artifact.version} ({artifact.folder})")
    typer.echo(f"network      {artifact.architecture}")
    typer.echo(f"labels       {', '.join(artifact.labels)}")
    typer.echo(f"input        {pre.width}×{pre.height} pixels, {', '.join(map(str, pre.views))}")
    typer.echo(f"engines      {', '.join(engines)}")
    for precision in artifact.precisions:
        typer.echo(f"openvino     {describe(precision.value, exports[precision.value])}")
    for split, figures in metrics.items():
        line = f"accuracy {figures['all']['accuracy']:.4f} on {figures['all']['n']} {_judged(artifact)}"
        error = f"calibration error {figures['all']['calibration_error']:.4f}"
        typer.echo(f"{split:<12} {line}, {error}")
    took = f"{_duration(training['seconds'])}, " if "seconds" in training else ""
    before = training.get("before")
    since = f", from {before['name']} {before['version']}" if before else ""  # the time is without that one's
    typer.echo(f"trained      preset {training['settings']['preset']}, {took}{training['backend']}{since}")


@models_app.command("average")
def average_models(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Names of models that ship, or models' folders.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="A model's folder, made anew.")
    ],
    imagenet: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the weights of ImageNet, below 1.")
    ] = 0.0,
    imagenet_weights: ImagenetWeights = None,
    name: Annotated[str | None, typer.Option(help="Its name.", show_default="that of the first")] = None,
    model_version: Annotated[str, typer.Option(help="Its version.")] = "mean",
) -> None:
    """Make one model whose weights are the mean of those of several, and of ImageNet's.

    Models that were fine-tuned from the same weights often do better so, on images that are unlike those of
    the training above all, and the mean costs as much to run as one. They have to be of one network and have
    the same labels. The head has to be fitted to it afterwards.
    """
    from models.artifact import load_artifact
    from models.extra import require_train_extra
    from service.engines.quiet import native_stderr_held

    require_train_extra()
    artifacts = [load_artifact(model) for model in models]
    with native_stderr_held():  # it imports TensorFlow
        from models.averaging import save_average

        average = save_average(
            artifacts,
            output,
            name=artifacts[0].name if name is None else name,
            version=model_version,
            imagenet=imagenet,
            imagenet_weights=imagenet_weights,
        )
    place = shlex.quote(str(output))
    typer.echo(f"fit its head: video-events train DATA -o DIR --start-from {place} --epochs 0", err=True)
    typer.echo(f"model {average.folder}")


def _duration(seconds: float) -> str:
    """In hours, or in what is less, so that no training took none."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
