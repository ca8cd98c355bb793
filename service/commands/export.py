"""The command ``export``: from the reference model to the network of the CPU engine.

Like ``cli``, this module imports nothing heavy until the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from models.precision import Precision
from service.commands.options import Background, Splits

app = typer.Typer()


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Name of a model that ships, or a model's folder.")],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder with <label>/<image> in it: training images calibrate, validation images compare.",
        ),
    ],
    background: Background = None,
    splits: Splits = None,
    precision: Annotated[Precision, typer.Option(help="8 bits, or single precision.")] = Precision.INT8,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="A copy there.", show_default="the model's folder"
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Training images to calibrate on.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Which ones.")] = 1,
) -> None:
    """Make the network of the engine 'openvino' from a model, and measure how far it is from it.

    DIR is what the model was trained on. The network and export.json, the record of the comparison, lie in
    the model's folder, and serve from then on where there is no GPU; the model itself is not changed. int8
    is about three times as fast as fp32 and serves where both are there.
    """
    from models.artifact import WEIGHTS, load_artifact
    from models.datasets import Collection, of_split
    from models.errors import DatasetError, ModelError
    from models.openvino import (
        calibration_inputs,
        compare,
        convert,
        copy_model,
        quantize,
        record_export,
        unfinished,
        versions,
    )
    from service.engines.keras import KerasClassifier
    from service.engines.openvino import OpenvinoClassifier
    from service.progress import evaluate_shown

    artifact = load_artifact(model)
    if artifact.judges_clips:
        raise ModelError(f"{artifact.name} judges clips, which engine 'openvino' does not run yet")
    collection = Collection.divided_as(artifact.record("training"), data, splits, background)
    samples = [sample for sample in collection.load() if sample.label in artifact.labels]
    valid = of_split(samples, "valid")
    if not valid:
        raise DatasetError(f"{data} holds no validation images of the model's labels to compare on")
    if output is not None:
        artifact = copy_model(artifact, output)

    typer.echo("converting", err=True)
    network = convert(artifact)
    how: dict[str, Any] = {"weights": artifact.files[WEIGHTS], "versions": versions()}
    if precision is Precision.INT8:
        inputs = calibration_inputs(artifact, samples, images, seed)
        typer.echo(f"quantizing, with {len(inputs)} training images", err=True)
        network = quantize(network, inputs)
        how["calibration"] = {"images": len(inputs), "seed": seed}
    with unfinished(network, artifact.folder, precision) as graph:
        exported = evaluate_shown(OpenvinoClassifier(artifact, graph, batch_size=16), valid, precision.value)
        keras = KerasClassifier(artifact, batch_size=16, accelerated=False)  # half precision is no reference
        reference = evaluate_shown(keras, valid, "reference")
        how["valid"] = compare(reference, exported)
        artifact = record_export(artifact, precision, graph, how)
    typer.echo(describe(precision.value, how))
    typer.echo(f"model {artifact.folder}")


def describe(precision: str, how: dict[str, Any]) -> str:
    """One line about an export, of what ``export.json`` says."""
    figures = how["valid"]
    return (
        f"{precision}: accuracy {figures['accuracy']:.4f} (reference {figures['reference_accuracy']:.4f}), "
        f"same label on {figures['top1_agreement']:.2%} of {figures['images']} validation images, "
        f"largest difference of a probability {figures['largest_probability_difference']:.4f}"
    )
