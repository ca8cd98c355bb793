"""The commands about models: ``train``, ``evaluate``, ``models list`` and ``models show``.

Like ``cli``, this module imports nothing heavy until a command runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from service.engines import Engine, open_engine

app = typer.Typer()
models_app = typer.Typer(help="The models that there are.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder with <label>/<image> in it.")]
Splits = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV", help="Columns path, label, split.", show_default="DATA/splits.csv, else random"
    ),
]
Background = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with <group>/<image>: the class 'background'."),
]
Groups = Annotated[
    str | None, typer.Option(metavar="A,B", help="Groups of the background kept for this split.")
]
Labels = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Only images of these labels.", show_default="all")
]


@app.command()
def train(
    data: Data,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; an unfinished one goes on."),
    ],
    name: Annotated[str, typer.Option(help="Name of the model.")] = "model",
    model_version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    preset: Annotated[str, typer.Option(help="'video' (augmented like video) or 'lecture'.")] = "video",
    splits: Splits = None,
    background: Background = None,
    valid_groups: Groups = None,
    test_groups: Groups = None,
    extra: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="More training images; can be repeated.")
    ] = None,
    labels: Labels = None,
    imagenet_weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="TensorFlow.js ResNet50 to start from.", show_default="download"),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Go on from this model of the same labels, without stage one."),
    ] = None,
    head_epochs: Annotated[
        int | None, typer.Option(help="Epochs of stage one.", show_default="preset")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of stage two.", show_default="preset")] = None,
    unfreeze: Annotated[
        str | None, typer.Option(help="First stage to train in stage two.", show_default="preset")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest rate of stage two.", show_default="preset")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(show_default="preset")] = None,
    train_size: Annotated[
        int | None, typer.Option(help="Side of a training view in pixels.", show_default="preset")
    ] = None,
    seed: Annotated[int | None, typer.Option(show_default="preset")] = None,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Judge the result on the split 'test' too, once.")
    ] = False,
) -> None:
    """Fine-tune ResNet50 on a folder of labelled images.

    Stage one trains the head on the frozen base, stage two the top blocks too. The run can be stopped
    with Ctrl-C and goes on from its last epoch when the same command is given again. DIR/artifact then
    holds the model for --model, DIR/report the curves, tables and the images it got wrong.
    """
    from models.artifact import load_artifact
    from models.datasets import Collection, of_split
    from models.errors import ModelError
    from models.export import choose_fit, export, judge
    from models.imagenet import load_imagenet_weights
    from models.report import plot_learning_curves, write_report
    from models.train import Training, with_overrides

    collection = Collection(
        data, splits, background, _names(valid_groups), _names(test_groups), tuple(extra or ())
    )
    settings = with_overrides(
        preset,
        head_epochs=head_epochs,
        epochs=epochs,
        unfreeze=unfreeze,
        learning_rate=learning_rate,
        batch_size=batch_size,
        train_size=train_size,
        seed=seed,
    )
    samples = collection.load(_names(labels) or None, seed=settings.seed)
    initialise: Callable[[Any], None] = partial(load_imagenet_weights, folder=imagenet_weights)
    if start_from is not None:
        earlier = load_artifact(start_from)
        initialise, settings = earlier.fill, replace(settings, head_epochs=0)
    training = Training(samples, output, settings, initialise=initialise)
    if start_from is not None and training.labels != earlier.labels:
        raise ModelError(f"--start-from {start_from} has labels {earlier.labels}, not {training.labels}")
    network = training.fit()
    typer.echo("choosing how to make images square, on the validation images", err=True)
    preprocessing, fits = choose_fit(network, training.labels, training.valid, settings.preprocessing)
    network = training.refit(network, preprocessing)
    splits_judged = {"valid": judge(network, training.labels, training.valid, preprocessing)}
    if test:
        typer.echo("judging on the test images", err=True)
        splits_judged["test"] = judge(network, training.labels, of_split(samples, "test"), preprocessing)
    artifact = export(
        network,
        output / "artifact",
        name=name,
        version=model_version,
        labels=training.labels,
        options=training.options,
        preprocessing=preprocessing,
        training=training.record()
        | {
            "fit_accuracy_on_valid": fits,
            "groups": {"valid": _names(valid_groups), "test": _names(test_groups)},
        },
        valid=splits_judged["valid"],
        test=splits_judged.get("test"),
    )
    plot_learning_curves(
        [output / f"{stage}.csv" for stage in ("head_log", "log", "refit_log")],
        _made(output / "report") / "learning_curves.png",
    )
    for split, judged in splits_judged.items():
        evaluation = judged.evaluation(artifact.temperature)
        write_report(output / "report" / split, evaluation, judged.samples)
        typer.echo(
            f"{split}: accuracy {evaluation.accuracy:.4f} on {len(judged.samples)} images, "
            f"calibration error {evaluation.calibration_error():.4f}"
        )
    typer.echo(f"model {output / 'artifact'}, report {output / 'report'}")


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
    ] = 0.6,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the full report here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Judge a model on labelled images: precision, recall and F1 by label, confusion, calibration.

    With --labels only the images of these labels count, and probabilities are renormalised over them.
    The groups of the background default to those that the model was trained with.
    """
    from rich.console import Console

    from models.artifact import load_artifact
    from models.datasets import Collection, of_split
    from models.evaluate import evaluate as evaluate_model
    from models.report import format_table, write_report
    from service.commands import progress_bar

    artifact = load_artifact(model)
    groups = artifact.record("training").get("groups", {})
    collection = Collection(
        data,
        splits,
        background,
        _names(valid_groups) or tuple(groups.get("valid", ())),
        _names(test_groups) or tuple(groups.get("test", ())),
    )
    samples = of_split(collection.load(_names(labels) or None), split)
    classifier = open_engine(artifact, engine, batch_size=16)
    with progress_bar(Console(stderr=True), "images", len(samples)) as advance_to:
        evaluation = evaluate_model(
            samples, artifact.labels, classifier.model_input, classifier.classify, progress=advance_to
        )
    if labels is not None:
        evaluation = evaluation.restricted(_names(labels))
    elif background is None:
        evaluation = evaluation.restricted(tuple(sorted({sample.label for sample in samples})))
    if output is not None:
        write_report(output, evaluation, samples)
    summary = evaluation.summary(enter)
    if as_json:
        typer.echo(json.dumps({"model": artifact.name, "split": split, **summary}))
        return
    typer.echo(format_table(evaluation))
    typer.echo(f"accuracy {summary['accuracy']:.4f} on {summary['n']} images of {split}")
    typer.echo(f"expected calibration error {summary['calibration_error']:.4f}")
    for name, rate in evaluation.event_rates(enter).items():
        typer.echo(f"share of images of {name} that would start an event at {enter}: {rate:.4f}")


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


@models_app.command("show")
def show_model(
    model: Annotated[str, typer.Argument(help="Name of a model that ships, or a model's folder.")] = "sports",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show the labels of a model, what it does to an image, how good it is and how it was trained."""
    from models.artifact import load_artifact

    artifact = load_artifact(model)
    metrics, training = artifact.record("metrics"), artifact.record("training")
    if as_json:
        typer.echo(
            json.dumps(
                {
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
    typer.echo(f"input        {pre.width}×{pre.height} pixels, {pre.fit.value}")
    for split, figures in metrics.items():
        line = f"accuracy {figures['all']['accuracy']:.4f} on {figures['all']['n']} images"
        error = f"calibration error {figures['all']['calibration_error']:.4f}"
        typer.echo(f"{split:<12} {line}, {error}")
    hours = training["seconds"] / 3600
    typer.echo(f"trained      preset {training['settings']['preset']}, {hours:.1f} h, {training['backend']}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
