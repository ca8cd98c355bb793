"""Self-contained HTML pages about runs: they ask for nothing outside, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from models.charts import as_svg, draw_learning_curves, draw_precision_recall, draw_roc
from models.data.sheet import draw_tile
from models.datasets import read_image
from models.errors import ModelError

if TYPE_CHECKING:
    from models.experiments.results import Part

WRONG_SHOWN = 24
_TEMPLATES = Path(__file__).parent / "templates"


def write_report_page(path: Path, results: Mapping[str, Any], parts: Mapping[str, Part], judged: str) -> None:
    """The page of one run, which gave labels to ``judged``. Raises ModelError where it cannot be written."""
    charts = {
        split: {
            "roc": as_svg(draw_roc(part.evaluation), (5.2, 4.0)),
            "pr": as_svg(draw_precision_recall(part.evaluation), (5.2, 4.0)),
        }
        for split, part in parts.items()
    }
    page = _render(
        "report.html.jinja",
        results=results,
        judged=judged,
        curves=as_svg(draw_learning_curves(results["history"])),
        charts=charts,
        wrong={split: _wrong(part) for split, part in parts.items()},
    )
    _write(path, page)


def write_comparison_page(path: Path, title: str, comparison: Mapping[str, Any]) -> None:
    """The page of several runs; ``comparison`` is that of ``models.experiments.compare``.

    Raises ModelError where it cannot be written.
    """
    _write(path, _render("compare.html.jinja", title=title, **comparison))


def _write(path: Path, page: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from error


def _render(name: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)


def _wrong(part: Part) -> list[dict[str, str]]:
    """The most confident mistakes as pictures in themselves: where mislabelled images show up."""
    evaluation = part.evaluation
    confidence = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(evaluation.predicted != evaluation.truth)
    pictures = []
    for i in wrong[np.argsort(-confidence[wrong], kind="stable")][:WRONG_SHOWN]:
        sample = part.samples[i]
        tile = draw_tile(read_image(sample.path), sample.path.name, 160)
        _, data = cv2.imencode(".jpg", tile, [cv2.IMWRITE_JPEG_QUALITY, 80])
        pictures.append(
            {
                "source": "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode(),
                "label": sample.label,
                "prediction": evaluation.labels[evaluation.predicted[i]],
                "confidence": f"{confidence[i]:.0%}",
            }
        )
    return pictures
