"""What a person wants to see of a training or evaluation: tables, curves and the pictures got wrong."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from models.charts import (
    draw_confusion,
    draw_precision_recall,
    draw_roc,
    save,
)
from models.data.images import write_image
from models.datasets import Sample, read_image
from models.errors import ModelError
from models.evaluate import Evaluation
from models.preprocessing import Fit, fit_image

SHEET_COLUMNS = 8
TILE_PIXELS = 160


def format_table(evaluation: Evaluation) -> str:
    """The table of precision, recall, F1 and support by label, then the confusion matrix, as text.

    Labels of which there is no image, and for which none was taken, are named instead: they have no F1 that
    could count in a mean.
    """
    from sklearn.metrics import classification_report

    met = np.union1d(evaluation.truth, evaluation.predicted)
    names = [evaluation.labels[i] for i in met]
    report = classification_report(
        evaluation.truth, evaluation.predicted, labels=met, target_names=names, digits=4, zero_division=0.0
    )
    matrix = np.array(evaluation.confusion_matrix())[np.ix_(met, met)]
    width, digits = max(map(len, names)), max(len(str(matrix.max())), 3) + 1
    lines = [str(report), "confusion matrix (rows true, columns predicted, same order)"]
    lines += [
        f"{label:>{width}} {''.join(f'{count:{digits}d}' for count in row)}"
        for label, row in zip(names, matrix, strict=True)
    ]
    rest = [label for label in evaluation.labels if label not in names]
    if rest:
        lines.append(f"no image, and none taken for it: {', '.join(rest)}")
    return "\n".join(lines)


def write_report(folder: Path, evaluation: Evaluation, samples: Sequence[Sample]) -> None:
    """Write ``per_label.csv``, ``wrong.csv``, ``wrong.jpg`` and the plots of one evaluation.

    ``samples`` are the images of ``evaluation``, in its order. Raises ModelError where that cannot be.
    """
    make_folder(folder)
    try:
        _write_report(folder, evaluation, samples)
    except OSError as error:
        raise ModelError(f"cannot write the report into {folder}: {error.strerror}") from error


def make_folder(folder: Path) -> None:
    """Raises ModelError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot make the folder {folder}: {error.strerror}") from error


def _write_report(folder: Path, evaluation: Evaluation, samples: Sequence[Sample]) -> None:
    (folder / "table.txt").write_text(format_table(evaluation) + "\n")
    with (folder / "per_label.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "precision", "recall", "f1", "support"])
        writer.writerows([label, *row.values()] for label, row in evaluation.per_label().items())
    _write_wrong(folder, evaluation, samples)
    save(draw_confusion(evaluation), folder / "confusion_matrix.png")
    save(draw_roc(evaluation), folder / "roc.png")
    save(draw_precision_recall(evaluation), folder / "precision_recall.png")


def _write_wrong(folder: Path, evaluation: Evaluation, samples: Sequence[Sample]) -> None:
    """Wrong images, the most confident first: these are where mislabelled images show up."""
    confidence = evaluation.probabilities.max(axis=1)
    unordered = np.flatnonzero(evaluation.predicted != evaluation.truth)
    wrong: list[int] = unordered[np.argsort(-confidence[unordered], kind="stable")].tolist()
    names = [evaluation.labels[i] for i in evaluation.predicted]
    with (folder / "wrong.csv").open("w", newline="", errors="backslashreplace") as file:
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
    write_image(folder / "wrong.jpg", np.vstack(rows))
