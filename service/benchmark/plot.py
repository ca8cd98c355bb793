"""The figures as a picture."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from service.benchmark import Part
from service.benchmark.lecture import NAME as BASELINE
from service.benchmark.live import LATE
from service.benchmark.subjects import ENGINE, PIPELINE, STAGES, caption
from service.errors import BenchmarkError

DRAWN: Final = frozenset({Part.PIPELINE, Part.ENGINES, Part.STREAMS})
SHADES: Final = {
    BASELINE: "tab:gray",
    PIPELINE: "tab:green",
    "decode": "tab:orange",
    "resize": "tab:red",
    "batch": "tab:purple",
    ENGINE: "tab:blue",
    "interpret": "tab:brown",
    "draw": "tab:pink",
    "encode": "tab:olive",
    "write": "tab:cyan",
}
"""One for each name, in all panels; engines of all kinds have that of ``ENGINE``."""


def check(path: Path, parts: Collection[Part]) -> None:
    """Raises ``BenchmarkError`` where there is nothing to draw of ``parts``, or no way to write ``path``."""
    if DRAWN.isdisjoint(parts):
        raise BenchmarkError(f"--plot draws the parts {', '.join(p for p in Part if p in DRAWN)} only")
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise BenchmarkError(
            "--plot needs matplotlib; install it with: pip install 'video-events[benchmark]'"
        ) from None
    if path.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise BenchmarkError(f"--plot {path}: cannot be drawn in this format; name it .png or .svg")
    if not os.access(path.parent, os.W_OK | os.X_OK) or path.is_dir():
        raise BenchmarkError(f"--plot {path}: cannot be written; choose a folder that can")


def draw(result: dict[str, Any], path: Path) -> None:
    """Rates, costs of the stages, and latency over streams, as far as measured, into a PNG or SVG file.

    To be checked before. Raises ``BenchmarkError`` if nothing was measured or the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = []
    if "frames" in result:
        rates = [name for name in result["frames"]["candidates"] if name not in STAGES]
        if rates:
            panels.append(_rates)
        if "allowance" in result["frames"]:
            panels.append(_costs)
    if result.get("streams", {}).get("steps"):
        panels.append(_latency)
    if not panels:
        raise BenchmarkError(f"--plot {path}: nothing was measured that could be drawn")
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 3.6), squeeze=False)
    for panel, axis in zip(panels, axes[0], strict=True):
        panel(axis, result)
    machine, network = result["machine"], result["settings"]["network"]
    figure.suptitle(f"{machine['processor']}, {machine['cores']} cores, {network}", fontsize=9)
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"--plot {path}: cannot be written: {error}") from error
    finally:
        pyplot.close(figure)


def _rates(axis: Any, result: dict[str, Any]) -> None:
    candidates = result["frames"]["candidates"]
    names = [name for name in candidates if name not in STAGES]
    names.sort(key=lambda name: candidates[name]["fps"]["median"])
    medians = [candidates[name]["fps"]["median"] for name in names]
    errors = [
        [median - candidates[name]["fps"]["low"] for name, median in zip(names, medians, strict=True)],
        [candidates[name]["fps"]["high"] - median for name, median in zip(names, medians, strict=True)],
    ]
    shades = [SHADES.get(name, SHADES[ENGINE]) for name in names]
    axis.barh([caption(name) for name in names], medians, xerr=errors, color=shades)
    axis.set_xlabel("frames per second (median, quartiles)")


def _costs(axis: Any, result: dict[str, Any]) -> None:
    candidates, left = result["frames"]["candidates"], 0.0
    for name in STAGES:
        cost = candidates[name]["core_ms_per_frame"]
        axis.barh(["stages"], [cost], left=left, color=SHADES[name], label=f"{name} {cost:.2g}")
        left += cost
    axis.barh(["pipeline"], [candidates[PIPELINE]["core_ms_per_frame"]], color=SHADES[PIPELINE])
    axis.set_xlabel("core-milliseconds per frame")
    axis.legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))


def _latency(axis: Any, result: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = sorted(result["streams"]["steps"], key=lambda step: int(step["streams"]))
    counts = [step["streams"] for step in steps]
    for share in ("p50", "p95", "p99"):
        values = [step["latency_ms"][share] if step["latency_ms"] else None for step in steps]
        axis.plot(counts, values, marker="o", label=share)
    axis.axhline(1000 * LATE, color="tab:red", linewidth=0.8, label="limit of p95")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"streams at {result['streams']['rate']:g} labels per second")
    axis.set_ylabel("capture to label, ms")
    axis.legend(fontsize=7)
