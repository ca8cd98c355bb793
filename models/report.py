"""What a person wants to see of a training or evaluation: tables, curves and the pictures got wrong."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.datasets import Sample, read_image
from models.evaluate import Evaluation
from models.preprocessing import Fit, fit_image

SHEET_COLUMNS = 8
TILE_PIXELS = 160


def format_table(evaluation: Evaluation) -> str:
    """The table of precision, recall, F1 and support by label, then the confusion matrix, as text."""
    from sklearn.metrics import classification_report

    width = max(map(len, evaluation.labels))
    report = classification_report(
        evaluation.truth,
        evaluation.predicted,
        labels=np.arange(len(evaluation.labels)),
        target_names=evaluation.labels,
        digits=4,
        zero_division=0.0,
    )
    matrix = evaluation.confusion_matrix()
    digits = max(len(str(max(map(max, matrix)))), 3) + 1
    rows = [
        f"{label:>{width}} {''.join(f'{count:{digits}d}' for count in row)}"
        for label, row in zip(evaluation.labels, matrix, strict=True)
    ]
    return "\n".join([str(report), "confusion matrix (rows true, columns predicted, same order)", *rows])


def write_report(folder: Path, evaluation: Evaluation, samples: Sequence[Sample]) -> None:
    """Write ``per_label.csv``, ``wrong.csv``, ``wrong.jpg`` and the plots of one evaluation.

    ``samples`` are the images of ``evaluation``, in its order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.txt").write_text(format_table(evaluation) + "\n")
    with (folder / "per_label.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "precision", "recall", "f1", "support"])
        writer.writerows([label, *row.values()] for label, row in evaluation.per_label().items())
    _write_wrong(folder, evaluation, samples)
    _plot_confusion(folder / "confusion_matrix.png", evaluation)
    _plot_curves(folder, evaluation)


def _write_wrong(folder: Path, evaluation: Evaluation, samples: Sequence[Sample]) -> None:
    """Wrong images, the most confident first: these are where mislabelled images show up."""
    confidence = evaluation.probabilities.max(axis=1)
    unordered = np.flatnonzero(evaluation.predicted != evaluation.truth)
    wrong: list[int] = unordered[np.argsort(-confidence[unordered], kind="stable")].tolist()
    names = [evaluation.labels[i] for i in evaluation.predicted]
    with (folder / "wrong.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "predicted", "confidence"])
        for i in wrong:
            sample = samples[i]
            path = "/".join(sample.path.parts[-2:])
            writer.writerow([path, sample.label, names[i], f"{confidence[i]:.4f}"])
    if not wrong:
        return
    tiles = []
    for i in wrong[:200]:
        tile = fit_image(read_image(samples[i].path), TILE_PIXELS, TILE_PIXELS, Fit.LETTERBOX)
        text = f"{samples[i].label[:10]}>{names[i][:10]} {confidence[i]:.0%}"
        cv2.putText(
            tile, text, (2, TILE_PIXELS - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 3, cv2.LINE_AA
        )
        cv2.putText(
            tile, text, (2, TILE_PIXELS - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (90, 255, 255), 1, cv2.LINE_AA
        )
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    rows = [np.hstack(tiles[start : start + SHEET_COLUMNS]) for start in range(0, len(tiles), SHEET_COLUMNS)]
    cv2.imwrite(str(folder / "wrong.jpg"), np.vstack(rows))


def _plot_confusion(path: Path, evaluation: Evaluation) -> None:
    plt = _pyplot()
    size = max(4.0, 0.45 * len(evaluation.labels) + 2)
    figure, axes = plt.subplots(figsize=(size, size), layout="constrained")
    matrix = np.array(evaluation.confusion_matrix())
    axes.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(evaluation.labels))
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {evaluation.accuracy:.2%}")
    axes.set_xticks(ticks, evaluation.labels, rotation=90)
    axes.set_yticks(ticks, evaluation.labels)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        color = "white" if row == column else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_curves(folder: Path, evaluation: Evaluation) -> None:
    """One-against-rest ROC and precision-recall curves, with the area of each label."""
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    plt = _pyplot()
    roc_figure, roc = plt.subplots(figsize=(8, 6), layout="constrained")
    pr_figure, pr = plt.subplots(figsize=(8, 6), layout="constrained")
    for index, label in enumerate(evaluation.labels):
        positive = evaluation.truth == index
        if not positive.any() or positive.all():
            continue
        score = evaluation.probabilities[:, index]
        false_rate, true_rate, _ = roc_curve(positive, score)
        precision, recall, _ = precision_recall_curve(positive, score)
        roc.plot(false_rate, true_rate, lw=1, label=f"{label} {auc(false_rate, true_rate):.4f}")
        pr.plot(recall, precision, lw=1, label=f"{label} {average_precision_score(positive, score):.4f}")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, area under the curve")
    pr.set(xlabel="recall", ylabel="precision", title="precision and recall, average precision")
    for figure, axes, name in ((roc_figure, roc, "roc.png"), (pr_figure, pr, "precision_recall.png")):
        axes.legend(fontsize=7, ncols=2)
        figure.savefig(folder / name, dpi=110)
        plt.close(figure)


def plot_learning_curves(logs: Sequence[Path], path: Path) -> None:
    """Loss and accuracy by epoch from the CSV logs of the stages that ran, one after the other."""
    rows: list[dict[str, float]] = []
    for log in logs:
        if log.is_file():
            with log.open(newline="") as file:
                rows += [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    plt = _pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        for key in (name, f"val_{name}"):
            axes.plot(range(1, len(rows) + 1), [row[key] for row in rows], marker="o", ms=3, label=key)
        axes.set(xlabel="epoch, all stages", ylabel=name)
        axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
