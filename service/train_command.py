"""The command ``train``: from a folder of labelled images to a stored model and a report.

Like ``cli``, this module imports nothing heavy until the command runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.data_options import Background, Data, Groups, Labels, Splits, names

if TYPE_CHECKING:
    from models.datasets import Sample
    from models.evaluate import Evaluation
    from models.settings import TrainingSettings

app = typer.Typer()


@app.command()
def train(
    data: Data,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; an unfinished one goes on."),
    ],
    name: Annotated[str, typer.Option(help="Name of the model.")] = "model",
    model_version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    architecture: Annotated[
        str, typer.Option(metavar="NAME", help="The network; 'video-events models architectures' lists them.")
    ] = "resnet50",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the architecture; can be repeated."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Of resnet50: 'video' (augmented like video) or 'lecture'.",
            show_default="architecture",
        ),
    ] = None,
    splits: Splits = None,
    background: Background = None,
    valid_groups: Groups = None,
    test_groups: Groups = None,
    extra: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="More training images; can be repeated.")
    ] = None,
    labels: Labels = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="'imagenet', or 'none' to train from random weights.", show_default="imagenet if there are"
        ),
    ] = None,
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
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of stage two, or from scratch.", show_default="preset")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after so many epochs without a better one; 0: never.", show_default="preset"),
    ] = None,
    unfreeze: Annotated[
        str | None, typer.Option(help="First stage to train in stage two.", show_default="preset")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="'sgd', 'adam' or 'adamw'.", show_default="preset")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Highest rate of stage two, or from scratch.", show_default="preset"),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Of the rate: 'constant' or 'cosine'.", show_default="preset")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of AdamW.", show_default="preset")] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of units left out.", show_default="architecture")
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(help="'none', or 'balanced': each label counts alike.", show_default="preset"),
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(help="'none', 'shifts', 'video' or 'lecture'.", show_default="preset"),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(show_default="preset")] = None,
    height: Annotated[
        int | None, typer.Option(help="Of the network's input, in pixels.", show_default="architecture")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Of the network's input, in pixels.", show_default="architecture")
    ] = None,
    train_size: Annotated[
        int | None, typer.Option(help="Side of a training view in pixels.", show_default="preset")
    ] = None,
    seed: Annotated[int | None, typer.Option(show_default="preset")] = None,
    leave_out_group: Annotated[
        str | None,
        typer.Option("--leave-out", metavar="GROUP", help="Test on this group of images alone."),
    ] = None,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="One run for each group, which is left out; then their mean.")
    ] = False,
    groups: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only images of these groups.", show_default="all")
    ] = None,
    valid_fraction: Annotated[
        float, typer.Option(help="With these two: share of the other images to validate on.")
    ] = 0.1,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Judge the result on the split 'test' too, once.")
    ] = False,
) -> None:
    """Train a network on a folder of labelled images.

    With ImageNet weights, stage one trains the head on the frozen base, stage two the top blocks too; other
    networks are trained whole until the validation loss falls no more. The run can be stopped with Ctrl-C
    and goes on from its last epoch when the same command is given again. DIR/artifact then holds the model
    for --model, DIR/report the curves, tables and the images it got wrong.
    """
    from models.datasets import Collection
    from models.leave_out import groups_of, leave_out, of_groups
    from models.presets import with_overrides

    collection = Collection(
        data, splits, background, names(valid_groups), names(test_groups), tuple(extra or ())
    )
    settings = with_overrides(
        preset,
        architecture=architecture,
        weights=weights,
        height=height,
        width=width,
        options=parsed_options(option or ()) | ({} if dropout is None else {"dropout": dropout}),
        head_epochs=head_epochs,
        epochs=epochs,
        patience=patience,
        unfreeze=unfreeze,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        class_weights=class_weights,
        augmentation=augmentation,
        batch_size=batch_size,
        train_size=train_size,
        seed=seed,
    )
    samples = collection.load(names(labels) or None, seed=settings.seed)
    if groups is not None:
        samples = of_groups(samples, names(groups))
    work = _Work(
        name=name,
        model_version=model_version,
        settings=settings,
        imagenet_weights=imagenet_weights,
        start_from=start_from,
        notes={"groups": {"valid": names(valid_groups), "test": names(test_groups)}},
        test=test or leave_out_group is not None or by_group,
    )
    if by_group:
        figures = {}
        for group in groups_of(samples):
            typer.echo(f"group {group} is left out", err=True)
            divided = leave_out(samples, group, valid_fraction=valid_fraction, seed=settings.seed)
            figures[group] = _figures(work.train(divided, output / group)["test"])
        _show_groups(figures, output)
        return
    if leave_out_group is not None:
        samples = leave_out(samples, leave_out_group, valid_fraction=valid_fraction, seed=settings.seed)
    work.train(samples, output)
    hint = f" --background {background}" if background else ""
    typer.echo(f"faster on CPUs: video-events export {output / 'artifact'} --data {data}{hint}", err=True)


@dataclass(frozen=True, slots=True)
class _Work:
    """What all runs of one command have in common."""

    name: str
    model_version: str
    settings: TrainingSettings
    imagenet_weights: Path | None
    start_from: str | None
    notes: dict[str, Any]
    test: bool

    def train(self, samples: list[Sample], output: Path) -> dict[str, Evaluation]:
        """Train, judge, store and report one model; returns its evaluations by split."""
        from models.artifact import load_artifact
        from models.datasets import of_split
        from models.errors import ModelError
        from models.export import choose_fit, export, judge
        from models.report import plot_learning_curves, write_report
        from models.train import Training

        settings = self.settings
        initialise: Callable[[Any], None] | None = None
        if self.imagenet_weights is not None and settings.weights == "imagenet":
            initialise = partial(_load_from, settings.architecture, self.imagenet_weights)
        if self.start_from is not None:
            earlier = load_artifact(self.start_from)
            initialise, settings = earlier.fill, replace(settings, head_epochs=0)
        training = Training(samples, output, settings, initialise=initialise)
        if self.start_from is not None and training.labels != earlier.labels:
            raise ModelError(
                f"--start-from {self.start_from} has labels {earlier.labels}, not {training.labels}"
            )
        network = training.fit()
        typer.echo("choosing how to make images square, on the validation images", err=True)
        preprocessing, fits = choose_fit(network, training.labels, training.valid, settings.preprocessing)
        network = training.refit(network, preprocessing)
        judged = {"valid": judge(network, training.labels, training.valid, preprocessing)}
        if self.test:
            typer.echo("judging on the test images", err=True)
            judged["test"] = judge(network, training.labels, of_split(samples, "test"), preprocessing)
        artifact = export(
            network,
            output / "artifact",
            name=self.name,
            version=self.model_version,
            architecture=settings.architecture,
            options=training.options,
            labels=training.labels,
            preprocessing=preprocessing,
            training=training.record() | {"fit_accuracy_on_valid": fits} | self.notes,
            valid=judged["valid"],
            test=judged.get("test"),
        )
        report = output / "report"
        report.mkdir(exist_ok=True)
        plot_learning_curves(
            [output / f"{stage}.csv" for stage in ("head_log", "log", "refit_log")],
            report / "learning_curves.png",
        )
        evaluations = {split: part.evaluation(artifact.temperature) for split, part in judged.items()}
        for split, evaluation in evaluations.items():
            write_report(report / split, evaluation, judged[split].samples)
            typer.echo(
                f"{split}: accuracy {evaluation.accuracy:.4f} on {len(judged[split].samples)} images, "
                f"calibration error {evaluation.calibration_error():.4f}"
            )
        typer.echo(f"model {output / 'artifact'}, report {report}")
        return evaluations


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    areas = evaluation.areas()
    return {
        "images": len(evaluation.truth),
        "accuracy": round(evaluation.accuracy, 4),
        **{
            name: _mean(area for area in by_label.values() if area is not None)
            for name, by_label in areas.items()
        },
    }


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return round(sum(values) / len(values), 4) if values else None


def _show_groups(figures: dict[str, dict[str, Any]], output: Path) -> None:
    """Print a line for each group that was left out and their mean; write them as ``by_group.json``."""
    names = ("accuracy", "roc_auc", "average_precision")
    mean = {name: _mean(row[name] for row in figures.values() if row[name] is not None) for name in names}
    (output / "by_group.json").write_text(json.dumps({"groups": figures, "mean": mean}, indent=1) + "\n")
    typer.echo(f"{'left out':<16} images " + " ".join(f"{name:>17}" for name in names))
    for group, row in {**figures, "mean": {"images": "", **mean}}.items():
        cells = ("" if row[name] is None else f"{row[name]:.4f}" for name in names)
        typer.echo(f"{group:<16} {row['images']!s:>6} " + " ".join(f"{cell:>17}" for cell in cells))


def parsed_options(texts: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as a dictionary; a value is a TOML number, boolean or list, else a text.

    Raises ModelError for a text without ``=``.
    """
    import tomllib

    from models.errors import ModelError

    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ModelError(f"--option takes NAME=VALUE, not {text!r}")
        try:
            options[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[name.strip()] = value
    return options


def _load_from(architecture: str, folder: Path, network: Any) -> None:
    from models import architectures
    from models.errors import ModelError

    load = architectures.find(architecture).load_weights
    if load is None:
        raise ModelError(f"there are no ImageNet weights for {architecture}; it is trained from scratch")
    load(network, folder)
