"""Charts of trainings and evaluations, as figures that become PNG files or parts of a page."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluate import Evaluation

_INK = "#123456"
"""Stands for the colour of the text around an SVG, so that it is legible on light and dark pages."""
MOST_TICKS = 60
"""Of more labels some are named beside a confusion matrix, which is as large as one of so many."""
MOST_CURVES = 20
"""Of more labels those with the smallest areas are drawn."""


def draw_confusion(evaluation: Evaluation) -> Any:
    """The confusion matrix, each row coloured by its shares; with numbers up to MOST_TICKS labels."""
    count = len(evaluation.labels)
    step = -(-count // MOST_TICKS)
    size = max(4.0, 0.45 * min(count, MOST_TICKS) + 2)
    figure = _figure(size, size)
    axes = figure.subplots()
    matrix = np.array(evaluation.confusion_matrix())
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks, names = range(0, count, step), evaluation.labels[::step]
    named = "" if step == 1 else f", one label in {step} is named"
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {evaluation.accuracy:.2%}{named}")
    axes.set_xticks(ticks, names, rotation=90, parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    if count > MOST_TICKS:
        return figure
    for row, column in zip(*np.nonzero(matrix), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, fontsize=7)
    return figure


def draw_roc(evaluation: Evaluation) -> Any:
    """One-against-rest ROC curves, with the area of each label (see ``Evaluation.areas``)."""
    from sklearn.metrics import roc_curve

    figure = _figure(8, 6)
    axes = figure.subplots()
    for label, positive, score, area in _judged_labels(evaluation, "roc_auc"):
        false_rate, true_rate, _ = roc_curve(positive, score)
        axes.plot(false_rate, true_rate, lw=1.2, label=f"{label} {area:.4f}")
    title = f"ROC, area under the curve{_chosen(evaluation)}"
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=title)
    _legend(axes)
    return figure


def draw_precision_recall(evaluation: Evaluation) -> Any:
    """One-against-rest precision and recall, with the average precision of each label."""
    from sklearn.metrics import precision_recall_curve

    figure = _figure(8, 6)
    axes = figure.subplots()
    for label, positive, score, area in _judged_labels(evaluation, "average_precision"):
        precision, recall, _ = precision_recall_curve(positive, score)
        axes.plot(recall, precision, lw=1.2, label=f"{label} {area:.4f}")
    title = f"precision and recall, average precision{_chosen(evaluation)}"
    axes.set(xlabel="recall", ylabel="precision", title=title)
    _legend(axes)
    return figure


def draw_learning_curves(history: Sequence[Mapping[str, Any]]) -> Any:
    """Loss and accuracy by epoch, of the stages one after the other (see ``read_history``).

    Networks that learn distances have no accuracy on the way.
    """
    names = [name for name in ("loss", "accuracy") if any(name in row for row in history)] or ["loss"]
    figure = _figure(10, 4)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key in (name, f"val_{name}"):
            values = _values(history, key)
            axes.plot(range(1, len(values) + 1), values, marker="o", ms=3, lw=1.2, label=key)
        _count_epochs(axes)
        axes.set_ylabel(name)
        _legend(axes)
    return figure


def draw_histories(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """Validation accuracy by epoch of several runs, by name."""
    figure = _figure(10, 4.5)
    axes = figure.subplots()
    for name, history in histories.items():
        values = _values(history, "val_accuracy")
        axes.plot(range(1, len(values) + 1), values, marker="o", ms=3, lw=1.2, label=name)
    _count_epochs(axes)
    axes.set_ylabel("accuracy on validation images")
    _legend(axes)
    return figure


def read_history(logs: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of the CSV logs of the stages that ran: stage, epoch from 1, and each figure by name.

    A figure that came to no number is None.
    """
    rows: list[dict[str, Any]] = []
    for log in logs:
        if log.is_file():
            stage = log.stem.removesuffix("_log") if log.stem != "log" else "main"
            with log.open(newline="") as file:
                for row in csv.DictReader(file):
                    figures = {key: _number(value) for key, value in row.items() if key != "epoch" and value}
                    rows.append({"stage": stage, "epoch": int(float(row["epoch"])) + 1, **figures})
    return rows


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _values(history: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """A figure by epoch; NaN, which is not drawn, where an epoch has none."""
    return [math.nan if row.get(name) is None else row[name] for row in history]


def save(figure: Any, path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=110)


def as_svg(figure: Any, size: tuple[float, float] | None = None) -> str:
    """``figure`` for a page, drawn anew ``size`` inches large.

    Transparent, text and axes in the page's colour, without outside references.
    """
    import matplotlib

    if size is not None:
        figure.set_size_inches(size)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "video-events"}):
        for text in figure.findobj(lambda artist: hasattr(artist, "get_fontfamily")):
            if text.get_color() == "black":
                text.set_color(_INK)
        for axes in figure.axes:
            axes.tick_params(colors=_INK)
            for spine in axes.spines.values():
                spine.set_edgecolor(_INK)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def _judged_labels(evaluation: Evaluation, kind: str) -> list[tuple[str, Any, Any, float]]:
    """Label, whether each image has it, its probability, and the area, where there is one.

    Of more than MOST_CURVES labels those with the smallest areas.
    """
    areas = {label: area for label, area in evaluation.areas()[kind].items() if area is not None}
    worst = sorted(areas, key=lambda label: areas[label])[:MOST_CURVES]
    return [
        (label, evaluation.truth == index, evaluation.probabilities[:, index], areas[label])
        for index, label in enumerate(evaluation.labels)
        if label in worst
    ]


def _chosen(evaluation: Evaluation) -> str:
    """What a title says of the labels that are drawn."""
    count = len(evaluation.labels)
    return f", the worst {MOST_CURVES} of {count} labels" if count > MOST_CURVES else ""


def _count_epochs(axes: Any) -> None:
    axes.set_xlabel("epoch, all stages")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _legend(axes: Any) -> None:
    if axes.lines:
        for text in axes.legend(fontsize=7, ncols=2, framealpha=0).get_texts():
            text.set_parse_math(False)  # a label may have a $ in it


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
