"""The command ``learn``. Like ``cli``, this module imports nothing heavy until the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.models import models_app
from service.commands.options import Background, Data, Splits
from service.engines import Engine
from service.errors import ConfigurationError

app = typer.Typer()

Learned = Annotated[
    Path | None,
    typer.Option(
        "--learned",
        metavar="DIR",
        help="Folder of learned labels.",
        show_default="$VIDEO_EVENTS_LEARNED, or in the user's data",
    ),
]


@app.command()
def learn(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The new label.", show_default=False)
    ] = None,
    examples: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER|IMAGE|CLIP@START-END",
            help="Pictures of it, or seconds of a clip (12.5-15 or 1:02-1:09); repeatable.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Name of a model that ships, or a model's folder.")] = "sports",
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = Engine.AUTO,
    learned: Learned = None,
    force: Annotated[bool, typer.Option("--force", help="Also from fewer than 5 examples.")] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="On trial: a service judges it, but announces no events.")
    ] = False,
    list_labels: Annotated[bool, typer.Option("--list", help="List what the model has learned.")] = False,
    remove: Annotated[
        str | None, typer.Option(metavar="NAME", help="Forget a learned label and its examples.")
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Judge what was learned on images, <label>/<image>: what new labels gain, known ones lose.",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Which images of DATA: train, valid, test, or all that the model was not trained on."
        ),
    ] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Add a label to a model from 5 to 20 examples, without training.

    The examples are kept, and follow to later versions of the model by themselves. run, serve and
    uploads use the label from then on; a running service takes it in within a second.
    """
    wanted = [name is not None, list_labels, remove is not None, evaluate is not None]
    if sum(wanted) != 1 or (name is not None) != bool(examples):
        raise ConfigurationError(
            "learn wants NAME with --examples, or --list, --remove NAME, --evaluate DATA"
        )
    from service.learning import commands

    model_of = commands.ModelChoice(model, engine, learned)
    if name is not None:
        commands.learn_label(model_of, name, examples or [], force=force, shadow=shadow, as_json=as_json)
    elif remove is not None:
        commands.remove_label(model_of, remove, as_json)
    elif evaluate is not None:
        commands.evaluate_labels(model_of, evaluate, split, as_json)
    else:
        commands.list_labels(model_of, as_json)


@models_app.command("reference")
def make_reference(
    data: Data,
    model: Annotated[str, typer.Option(help="Name of a model that ships, or a model's folder.")] = "sports",
    splits: Splits = None,
    background: Background = None,
    engine: Annotated[Engine, typer.Option(help="What runs the network.")] = Engine.AUTO,
) -> None:
    """Note beside a model what its training images look like to its network.

    With this reference, labels that are learned from a few examples take less from the known ones. It
    belongs to these weights: make it again for a new version. Only images of the split 'train' are used.
    """
    from models.artifact import load_artifact
    from models.datasets import Collection, of_split
    from models.references import chosen_samples, make_reference
    from service.engines import open_engine
    from service.errors import LearningError
    from service.progress import progress_bar
    from service.types import Embedder

    artifact = load_artifact(model)
    collection = Collection.divided_as(artifact.record("training"), data, splits, background)
    samples = of_split(collection.load(artifact.labels), "train")
    classifier = open_engine(artifact, engine, batch_size=16)
    if not isinstance(classifier, Embedder):
        raise LearningError(f"model {artifact.name} judges clips, not single frames: it cannot learn labels")
    total = len(chosen_samples(samples, artifact.labels, 1))
    with progress_bar("images", total) as advance_to:
        path = make_reference(artifact, samples, classifier.embed, progress=advance_to)
    typer.echo(f"{path} from {total} images")
