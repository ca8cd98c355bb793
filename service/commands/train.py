"""The command ``train``: from a folder of labelled images to a stored model and a report.

Like ``cli``, this module imports nothing heavy until the command runs.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.options import Background, Groups, ImagenetWeights, Labels, Splits, names
from service.commands.statuses import INTERRUPTED

if TYPE_CHECKING:
    from models.experiments.experiment import Experiment

_OF_THE_COMMAND = ("output", "experiment", "grid", "retry", "by_group")
"""Parameters that are none of the experiment's."""
_AGAIN = 1.0
"""Seconds after which an interrupt that nothing has heard is raised again."""

app = typer.Typer()


@app.command()
def train(
    context: typer.Context,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; an unfinished one goes on."),
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Folder with <label>/<image> in it, or <split>/<label>/<image>.",
            show_default="the experiment's",
        ),
    ] = None,
    experiment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML or JSON with these parameters; options override it."),
    ] = None,
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Like --experiment, with ranges: a run for each combination."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="With --grid: also run again what failed.")] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Of the model: up to 64 letters, digits, spaces, _ . + -", show_default="model"),
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="Version of the model.", show_default="1")] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The network; 'video-events models architectures' lists them.",
            show_default="resnet50",
        ),
    ] = None,
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
    groups: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only images of these groups.", show_default="all")
    ] = None,
    leave_out: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Blind test: on this group of images alone.")
    ] = None,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="One run for each group, which is left out; then their mean.")
    ] = False,
    valid_fraction: Annotated[
        float | None,
        typer.Option(
            help="Divide the data anew: share for validation; without --test-fraction the test stays.",
            show_default="splits; 0.1 beside --leave-out",
        ),
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Divide the data anew: share for the test.", show_default="splits")
    ] = None,
    split_by: Annotated[
        str | None, typer.Option(help="Divide by 'image' or whole 'group'.", show_default="image")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="'imagenet', or 'none' to train from random weights.", show_default="imagenet if there are"
        ),
    ] = None,
    imagenet_weights: ImagenetWeights = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Go on from this model of the same labels, without stage one; clip networks: its base.",
        ),
    ] = None,
    head_epochs: Annotated[
        int | None, typer.Option(help="Epochs of stage one.", show_default="preset")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of stage two, or from scratch; of a head on a frozen base.", show_default="preset"
        ),
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
        typer.Option(
            help="Highest rate of stage two, or from scratch; of a head on a frozen base.",
            show_default="preset",
        ),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Of the rate: 'constant' or 'cosine'.", show_default="preset")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of AdamW.", show_default="preset")] = None,
    weight_average: Annotated[
        float | None,
        typer.Option(
            help="Momentum of a moving average of the weights, which is kept; 0: none.", show_default="preset"
        ),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of units left out.", show_default="architecture")
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(help="'none', or 'balanced': each label counts alike.", show_default="preset"),
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            help="'none', 'shifts', 'video' or 'lecture'; of clip networks 'none' or 'clip'.",
            show_default="preset",
        ),
    ] = None,
    mix: Annotated[
        float | None,
        typer.Option(help="Share of batches whose images are mixed (mixup, CutMix).", show_default="preset"),
    ] = None,
    inset: Annotated[
        float | None,
        typer.Option(help="Share of images shown small in another one.", show_default="preset"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Computed in: 'float32', or 'bfloat16', faster where the processor has it.",
            show_default="float32",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images, or windows of clips, in a step.", show_default="preset")
    ] = None,
    height: Annotated[
        int | None, typer.Option(help="Of the network's input, in pixels.", show_default="architecture")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Of the network's input, in pixels.", show_default="architecture")
    ] = None,
    train_size: Annotated[
        int | None, typer.Option(help="Side of a training view in pixels.", show_default="preset")
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2,
            help="Ways in which a model sees frames in turn: 1, or 2, the second mirrored.",
            show_default="preset",
        ),
    ] = None,
    learn_valid: Annotated[
        bool | None,
        typer.Option(
            "--learn-valid/--no-learn-valid",
            help="The head that is stored learns from validation images too; figures are of one without.",
            show_default="no",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of all that is left to chance.", show_default="preset")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of clip networks: frames from one of a window to the next.", show_default="1"
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Of clip networks: where features of frames are kept for other runs.",
            show_default="OUTPUT/features",
        ),
    ] = None,
    test: Annotated[
        bool | None,
        typer.Option(
            "--test/--no-test", help="Judge the result on the split 'test' too, once.", show_default="no"
        ),
    ] = None,
) -> None:
    """Train a network on a folder of labelled images.

    With ImageNet weights, stage one trains the head on the frozen base, stage two the top blocks too; other
    networks are trained whole until the validation loss falls no more. The run can be stopped with Ctrl-C
    and goes on from its last epoch when the same command is given again. DIR/artifact then holds the model
    for --model, DIR/results.json every figure, DIR/frame_predictions.csv what it says of each image, and
    DIR/report/report.html curves, tables and the images it got wrong.

    Networks that judge clips (lrcn, concat, c3d, small_c3d) learn from videos: DATA/labels.csv has the
    columns video, frame, label, split and the frames are DATA/<video>/<frame>.

    With --grid every combination of the ranges is a run in a folder of its own; DIR/table.csv and
    DIR/leaderboard.html compare them by validation accuracy. What is done is not done again.
    """
    from models.extra import require_train_extra

    require_train_extra()
    overrides = _given(context.params)
    if grid is not None:
        from service.commands.grid import run_grid_file

        if experiment is not None or by_group:
            raise typer.BadParameter("--grid goes without --experiment and --by-group (leave_out = 'each')")
        run_grid_file(grid, output, overrides, retry=retry)
        return
    if retry:
        raise typer.BadParameter("--retry has no use without --grid")
    planned = _planned(experiment, overrides)
    planned.check_place(output)
    if by_group:
        if planned.leave_out is not None:
            raise typer.BadParameter("--by-group leaves out each group in turn; --leave-out has no use")
        with interrupts_heard():
            _run_by_group(planned, output)
        return
    from models.experiments.results import judged

    with interrupts_heard():
        results = _run(planned, output)
    if judged(results) == "windows":
        return  # which only TensorFlow runs yet
    named = {"--data": planned.data, "--background": planned.background, "--splits": planned.splits}
    options = [str(word) for pair in named.items() if pair[1] is not None for word in pair]
    command = ["video-events", "export", str(output / "artifact"), *options]
    typer.echo(f"faster on CPUs: {shlex.join(command)}", err=True)


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the command's ``parameters`` say of the experiment, which has them by the same names."""
    given = {name: value for name, value in parameters.items() if name not in _OF_THE_COMMAND}
    given |= {name: names(given[name]) for name in ("valid_groups", "test_groups", "labels", "groups")}
    given["options"] = parsed_options(given.pop("option") or ())
    return {name: value for name, value in given.items() if value not in (None, (), [], {})}


def _planned(file: Path | None, overrides: dict[str, Any]) -> Experiment:
    from models.experiments.experiment import Experiment, merge, read_parameters

    if file is None and "data" not in overrides:
        raise typer.BadParameter("give DATA, or a file that names it with --experiment or --grid")
    parameters = read_parameters(file) if file else {}
    if "grid" in parameters:
        raise typer.BadParameter(f"{file} describes a grid of runs; take it with --grid")
    return Experiment.of(merge(parameters, overrides), str(file or "the options"))


@contextmanager
def interrupts_heard() -> Iterator[None]:
    """Let Ctrl-C end the program, and at once, whatever TensorFlow is doing.

    Code in C that calls back may drop an exception or make another of it: so the interrupt is raised again
    until it comes through. And TensorFlow's threads, which call Python for the next batch, may hold up or
    crash a program that ends in the usual way. Where Ctrl-C is ignored, as in the background, it still is.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    except BaseException:
        if not came:
            raise
        typer.echo("video-events: interrupted", err=True)
        os._exit(INTERRUPTED)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(experiment: Experiment, output: Path) -> dict[str, Any]:
    from models.errors import ExperimentError
    from models.experiments.results import judged
    from models.report import make_folder
    from service.engines.quiet import native_stderr_held
    from service.lock import only_one

    with native_stderr_held():  # it imports TensorFlow
        from models.experiments.execute import execute
    make_folder(output)
    with only_one(output, ExperimentError(f"{output}: another training works here already")):
        results = execute(experiment, output, tell=lambda text: typer.echo(text, err=True))
    for split, figures in results["splits"].items():
        typer.echo(
            f"{split}: accuracy {figures['accuracy']:.4f} on {figures['n']} {judged(results)}, "
            f"calibration error {figures['calibration_error']:.4f}{_steadiness(figures.get('flicker'))}"
        )
    typer.echo(f"model {output / 'artifact'}, report {output / 'report' / 'report.html'}")
    return results


def _steadiness(flicker: dict[str, Any] | None) -> str:
    if flicker is None:
        return ""
    changes = (
        f"{flicker['raw']} ({flicker['truth']} in truth), {flicker['smoothed_8']} smoothed over 8 frames"
    )
    return f"; changes of the label per 100 frames: {changes}"


def _run_by_group(experiment: Experiment, output: Path) -> None:
    """A run for each group, then a line for each and the mean.

    Raises ExperimentError where nothing can be begun and, in the end, for groups that could not be left out.
    """
    from models.counted import counted
    from models.errors import ExperimentError
    from service.engines.quiet import native_stderr_held

    with native_stderr_held():  # it imports TensorFlow
        from models.experiments.by_group import MEANS, run_by_group
    summary = run_by_group(experiment, output, _run, tell=lambda text: typer.echo(text, err=True))
    typer.echo(f"{'left out':<16} images " + " ".join(f"{name:>22}" for name in MEANS))
    for group, row in {**summary.groups, "mean": {"n": "", **summary.mean}}.items():
        cells = ("" if row[name] is None else f"{row[name]:.4f}" for name in MEANS)
        typer.echo(f"{group:<16} {row['n']!s:>6} " + " ".join(f"{cell:>22}" for cell in cells))
    if failed := summary.failed:
        raise ExperimentError(f"{counted(len(failed), 'group')} could not be left out: {', '.join(failed)}")


def parsed_options(texts: Sequence[str]) -> dict[str, Any]:
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
