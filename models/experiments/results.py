"""What came of a run: ``results.json``, ``frame_predictions.csv``, plots and a page."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from models.charts import draw_learning_curves, read_history, save
from models.datasets import Sample
from models.errors import ExperimentError
from models.evaluate import Evaluation
from models.report import write_report

FORMAT = 1
RESULTS = "results.json"
PREDICTIONS = "frame_predictions.csv"
PAGE = "report.html"
LOGS = ("head_log.csv", "log.csv", "refit_log.csv")


@dataclass(frozen=True, slots=True)
class Part:
    """How the model does on the images of a split; ``samples`` are those of ``evaluation``, in its order.

    ``raw`` is the same with the probabilities before calibration, ``images`` the number of images by label
    that the split has (of many training images only some are judged).
    """

    samples: Sequence[Sample]
    evaluation: Evaluation
    raw: Evaluation
    images: Mapping[str, int]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished training in ``folder``, whose logs lie there.

    ``parameters`` are those of the experiment, ``settings`` all that the training was begun with.
    ``seconds`` are by what they were spent on.
    """

    folder: Path
    name: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    labels: tuple[str, ...]
    network: Any
    parts: Mapping[str, Part]
    seconds: Mapping[str, float]
    extra: Mapping[str, Any] = field(default_factory=dict)


def write_results(run: Run) -> dict[str, Any]:
    """Write everything into ``run.folder`` and its folder ``report``; return ``results.json``.

    That file is written last: where it is, the run is complete.
    """
    from models.experiments.page import write_report_page

    history = read_history([run.folder / log for log in LOGS])
    report = run.folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    save(draw_learning_curves(history), report / "learning_curves.png")
    for split, part in run.parts.items():
        write_report(report / split, part.evaluation, part.samples)
    write_predictions(run.folder / PREDICTIONS, run.parts)
    results = {
        "format": FORMAT,
        "name": run.name,
        "parameters": dict(run.parameters),
        "settings": dict(run.settings),
        "seed": run.settings.get("seed"),
        "architecture": run.settings.get("architecture"),
        "labels": list(run.labels),
        "parameter_count": count_parameters(run.network),
        "data": {split: dict(part.images) for split, part in run.parts.items()},
        "images": {split: sum(part.images.values()) for split, part in run.parts.items()},
        "seconds": {name: round(seconds, 1) for name, seconds in run.seconds.items()},
        "epochs": {stage: sum(row["stage"] == stage for row in history) for stage in stages(history)},
        "history": history,
        "splits": {split: figures(part) for split, part in run.parts.items()},
        "versions": versions(),
        **run.extra,
    }
    write_report_page(report / PAGE, results, run.parts, judged(results))
    unfinished = run.folder / f".{RESULTS}.new"
    unfinished.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    unfinished.replace(run.folder / RESULTS)
    return results


def read_results(folder: Path) -> dict[str, Any]:
    """``results.json`` of a run. Raises ExperimentError where there is none that can be read."""
    path = folder / RESULTS if folder.is_dir() else folder
    if not folder.exists():
        raise ExperimentError(f"{folder}: there is no such file or folder")
    try:
        results: dict[str, Any] = json.loads(path.read_text())
        found = results["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExperimentError(
            f"{folder} holds no finished run: {path.name} cannot be read ({error})"
        ) from error
    if found != FORMAT:
        raise ExperimentError(f"{path} has format {found}; this version reads {FORMAT}")
    return results


def judged(results: Mapping[str, Any]) -> str:
    """What a run gave labels to: ``images``, or ``windows`` of frames, which have a stride."""
    return "windows" if "stride" in results else "images"


def find_runs(folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Results of runs by name: of each folder itself, or of the finished runs right inside it.

    Names are as short as tells them apart. Raises ExperimentError for a folder with neither.
    """
    places: list[Path] = []
    for folder in folders:
        inner = sorted(path.parent for path in folder.glob(f"*/{RESULTS}"))
        if (folder / RESULTS).is_file() or not inner:
            places.append(folder)
        else:
            places += inner
    unique = list(dict.fromkeys(path.absolute() for path in places))
    short = [path.name for path in unique]
    names = ["/".join(p.parts[-2:]) if short.count(p.name) > 1 else p.name for p in unique]
    names = [str(p) if names.count(name) > 1 else name for p, name in zip(unique, names, strict=True)]
    return {name: read_results(path) for name, path in zip(names, unique, strict=True)}


def stages(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the stages in their order."""
    return list(dict.fromkeys(str(row["stage"]) for row in history))


def divergences(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each stage whose loss became no number: when, and which of its networks was kept."""
    lines = []
    for stage in stages(history):
        losses = {
            row["epoch"]: row.get("val_calibrated_loss", row["val_loss"])
            for row in history
            if row["stage"] == stage
        }
        known = {epoch: loss for epoch, loss in losses.items() if loss is not None}
        lost = sorted(losses.keys() - known.keys())
        if lost and known:
            kept = min(known, key=lambda epoch: known[epoch])
            lines.append(
                f"stage {stage} diverged: the validation loss of epoch {lost[0]} is no number; kept is the "
                f"network of epoch {kept}, a lower learning rate may come to a better one"
            )
    return lines


def figures(part: Part) -> dict[str, Any]:
    """All figures of a split; ``loss`` is that of the probabilities as served (calibrated)."""
    evaluation = part.evaluation
    areas = evaluation.areas()
    means = {f"mean_{name}": mean_of_known(list(values.values())) for name, values in areas.items()}
    return {
        "n": len(evaluation.truth),
        "accuracy": round(evaluation.accuracy, 4),
        "loss": round(evaluation.loss, 4),
        "uncalibrated_loss": round(part.raw.loss, 4),
        "calibration_error": round(evaluation.calibration_error(), 4),
        **means,
        **areas,
        "per_label": evaluation.per_label(),
        "confusion_matrix": evaluation.confusion_matrix(),
        **part.extra,
    }


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """The mean of those that are not None, to four digits; None where all are."""
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def write_predictions(path: Path, parts: Mapping[str, Part]) -> None:
    """One line an image: video, frame, split, label, prediction, error (0 or 1), each label's probability.

    What is not UTF-8 in a name is written as ``\\udc`` and the byte: it costs no run its results.
    """
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, (split, part) in enumerate(parts.items()):
            labels = part.evaluation.labels
            if not number:
                columns = [f"p_{label}" for label in labels]
                writer.writerow(["video", "frame", "split", "label", "prediction", "error", *columns])
            rows = zip(part.samples, part.evaluation.predicted, part.evaluation.probabilities, strict=True)
            for sample, predicted, probabilities in rows:
                prediction = labels[predicted]
                writer.writerow(
                    [
                        sample.group or sample.path.parent.name,
                        sample.path.name,
                        split,
                        sample.label,
                        prediction,
                        int(prediction != sample.label),
                        *(f"{probability:.6f}" for probability in probabilities),
                    ]
                )


def count_parameters(network: Any) -> dict[str, int]:
    """Numbers in the weights: all, and those that training could change."""
    return {
        "total": int(network.count_params()),
        "trainable": sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
    }


def versions() -> dict[str, str]:
    """Of Python, of this project and of what it computes with."""
    found = {"python": platform.python_version()}
    for package in ("video-events", "keras", "tensorflow", "jax", "numpy", "opencv-python-headless"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
