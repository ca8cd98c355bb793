"""Several runs side by side, by what they differ in and how they did on validation images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.charts import as_svg, draw_histories

FIGURES = ("accuracy", "loss", "mean_roc_auc", "mean_average_precision", "calibration_error")
RANKED_BY = "ranked by accuracy on the validation images, then by their loss; test figures choose nothing"


def rank(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of finished runs, the best first: by validation accuracy, then loss, then name."""

    def key(name: str) -> tuple[float, float, str]:
        valid = runs[name]["splits"]["valid"]
        return -valid["accuracy"], valid["loss"], name

    return sorted(runs, key=key)


def differing(all_parameters: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the parameters that are not the same everywhere, by their first appearance."""
    flat = [flatten(parameters) for parameters in all_parameters]
    names = list(dict.fromkeys(name for parameters in flat for name in parameters))
    return [name for name in names if any(one.get(name) != flat[0].get(name) for one in flat)]


def flatten(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``{"options": {"dropout": 0.5}}`` as ``{"options.dropout": 0.5}``."""
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[name] = value
    return flat


def tabulate(
    runs: Mapping[str, Mapping[str, Any]], varied: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """A row for each finished run, the best first.

    Columns: run, the parameters ``varied`` (default: what differs), figures of valid, train and test as
    ``<split>_<figure>`` where there are such, epochs_done (of all stages), parameters (how many
    weights), seconds.
    """
    if varied is None:
        varied = differing(run["parameters"] for run in runs.values())
    rows = []
    for name in rank(runs):
        run = runs[name]
        flat = flatten(run["parameters"])
        row: dict[str, Any] = {"run": name}
        row |= {parameter: flat.get(parameter) for parameter in varied}
        for split in ("valid", "train", "test"):
            figures = run["splits"].get(split, {})
            for figure in FIGURES if split != "train" else FIGURES[:2]:
                if figure in figures:
                    row[f"{split}_{figure}"] = figures[figure]
        row["epochs_done"] = sum(run["epochs"].values())
        row["parameters"] = run["parameter_count"]["total"]
        row["seconds"] = round(sum(run["seconds"].values()), 1)
        rows.append(row)
    return rows


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All columns of ``rows`` in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_page(
    runs: Mapping[str, Mapping[str, Any]],
    failed: Mapping[str, str] | None = None,
    varied: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What ``page.write_comparison_page`` shows."""
    rows = tabulate(runs, varied)
    columns = columns_of(rows)
    curves = {name: run["history"] for name, run in runs.items() if run["history"]}
    return {
        "note": RANKED_BY,
        "columns": [column.replace("_", " ") for column in columns],
        "rows": [
            {"best": not number, "cells": [show(row.get(column)) for column in columns]}
            for number, row in enumerate(rows)
        ],
        "curves": as_svg(draw_histories(curves)) if 0 < len(curves) <= 20 else "",
        "failed": dict(failed or {}),
    }


def show(value: Any) -> str:
    """A cell as text."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
