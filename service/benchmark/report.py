"""Shows what was measured: figures for a program, tables for a person."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.benchmark.lecture import NAME as BASELINE
from service.benchmark.rounds import Rounds
from service.benchmark.statistics import significant
from service.benchmark.subjects import ENGINE, PIPELINE, STAGES, caption


def frame_figures(rounds: Rounds, cores: int) -> dict[str, Any]:
    """Rates, costs and ratios of all candidates, and what their costs allow the pipeline."""
    candidates = {}
    for name in rounds.readings:
        ratio = rounds.ratio(name, BASELINE)
        candidates[name] = {
            "fps": rounds.fps(name).document(),
            "wall_ms_per_frame": significant(1000 * rounds.wall_seconds(name).median),
            "core_ms_per_frame": significant(1000 * rounds.core_seconds(name).median),
            "times_lecture_loop": ratio.document() if ratio else None,
            "peak_memory_mb": significant(rounds.peak_memory.get(name, 0) / 1e6, 4) or None,
        }
    figures: dict[str, Any] = {"candidates": candidates}
    if PIPELINE in rounds.readings and all(stage in rounds.readings for stage in STAGES):
        cost = sum(rounds.core_seconds(stage).median for stage in STAGES)
        rate = rounds.fps(PIPELINE).median
        figures["allowance"] = {
            "cores": cores,
            "core_ms_per_frame_of_all_stages": significant(1000 * cost),
            "allowed_fps": significant(cores / cost),
            "pipeline_fps": significant(rate),
            "share_of_allowed": significant(rate * cost / cores, 4),
            "cores_used_by_pipeline": significant(
                rounds.core_seconds(PIPELINE).median / rounds.wall_seconds(PIPELINE).median, 4
            ),
        }
    return figures


def show(console: Console, result: dict[str, Any]) -> None:
    """Print tables of whatever there is in ``result``."""
    machine = result["machine"]
    console.print(
        Text(f"{machine['processor']}, {machine['cores']} cores, {result['settings']['network']}"),
        soft_wrap=True,
    )
    if clip := result.get("clip"):
        text = f"{clip['width']}×{clip['height']} {clip['codec']}, {clip['frames']} frames"
        console.print(Text(f"clip {clip['file']}: {text}"), soft_wrap=True)
    if "frames" in result:
        _frames(console, result["frames"])
    if result.get("growth"):
        _growth(console, result["growth"])
    if "events" in result:
        _events(console, result["events"])
    if result.get("streams", {}).get("steps"):
        _streams(console, result["streams"])
    if result.get("subscribers"):
        _subscribers(console, result["subscribers"])
    for name, reason in result["skipped"].items():
        console.print(Text(f"not measured: {name}: {reason}"), soft_wrap=True)


def _frames(console: Console, figures: dict[str, Any]) -> None:
    candidates = figures["candidates"]
    rates = _table("frames per second", "median", "quartiles", "× lecture", "peak MB")
    for name, row in candidates.items():
        if name in STAGES and name != ENGINE:
            continue
        fps, ratio = row["fps"], row["times_lecture_loop"]
        rates.add_row(
            caption(name),
            f"{fps['median']:.4g}",
            f"{fps['low']:.4g} – {fps['high']:.4g}",
            f"{ratio['median']:.3g}" if ratio else "",
            f"{row['peak_memory_mb'] or 0:.0f}",
        )
    if rates.row_count:
        console.print(rates)
    costs = _table("stage alone, ms a frame", "of a core", "of the clock")
    for name in STAGES:
        if name in candidates:
            row = candidates[name]
            costs.add_row(name, f"{row['core_ms_per_frame']:.3g}", f"{row['wall_ms_per_frame']:.3g}")
    if costs.row_count:
        console.print(costs)
    if allowance := figures.get("allowance"):
        console.print(
            Text(
                f"The stages cost {allowance['core_ms_per_frame_of_all_stages']:.4g} core-ms a frame, so "
                f"{allowance['cores']} cores that never wait would do {allowance['allowed_fps']:.4g} "
                f"frames/s. The pipeline does {allowance['pipeline_fps']:.4g}, which is "
                f"{allowance['share_of_allowed']:.1%} of that; it keeps "
                f"{allowance['cores_used_by_pipeline']:.3g} cores busy."
            )
        )


def _growth(console: Console, figures: dict[str, Any]) -> None:
    table = _table("run", "frames", "first frame s", "seconds", "core-s", "frames/s after", "peak MB")
    for name, run in figures["runs"].items():
        table.add_row(
            f"length {name}",
            str(run["frames"]),
            _number(run["first_frame_seconds"], ".3g"),
            f"{run['seconds']:.4g}",
            f"{run['cpu_seconds']:.4g}",
            _number(run["fps_after_first_frame"], ".4g"),
            f"{run['peak_memory_mb']:.0f}",
        )
    console.print(table)
    console.print(
        f"The first frame was there after {_number(figures['first_frame_seconds'], '.3g')} s (median), "
        f"{_number(figures['first_frame_seconds_most'], '.3g')} s at most."
    )
    if further := ", then ".join(f"{cost:.3g}" for cost in figures["core_ms_per_further_frame"]):
        console.print(f"From one length to the next each further frame costs {further} core-ms.")


def _events(console: Console, figures: dict[str, Any]) -> None:
    table = _table(f"log of {figures['events']:,} events", "median ms", "most ms")
    for name, spread in figures["query_ms"].items():
        table.add_row(name.replace("_", " "), f"{spread['median']:.3g}", f"{spread['most']:.3g}")
    console.print(table)


def _streams(console: Console, figures: dict[str, Any]) -> None:
    console.print(
        "Live streams: ms from capture to label (p50, p95, p99); labels per second of a stream (least, "
        "median); by how many ms a minute the age of frames grows (drift)"
    )
    table = _table("n", "p50", "p95", "p99", "least", "median", "drift", "cores", "busy", "MB", "ok")
    for step in figures["steps"]:
        latency, rates = step["latency_ms"], step["labels_per_second"]
        age = step["frame_age_slope_ms_per_minute"]
        table.add_row(
            str(step["streams"]),
            *_latencies(latency),
            *(f"{rates[name]:.2f}" for name in ("least", "median")),
            _number(age, "+.3g"),
            f"{step['cores_used']:.2f}",
            f"{step['machine_busy_share']:.0%}",
            f"{step['resident_mb']:.0f}",
            "yes" if step["holds"] else "no",
        )
    console.print(table)
    if figures.get("resident_mb_per_stream") is not None:
        console.print(
            f"Each further stream takes {_number(figures['cores_per_stream'], '.2g')} of a core and "
            f"{figures['resident_mb_per_stream']:.0f} MB "
            f"({figures['proportional_mb_per_stream']:.0f} MB where shared pages are divided); "
            f"the service was ready after {figures['ready_seconds']:.3g} s."
        )
    if limit := figures.get("limit"):
        console.print(
            Text(
                f"Limit: {limit['streams']} streams ({limit['because']}); bound by "
                f"{limit['bound_by'] or 'what is not known'}; the machine was busy to "
                f"{limit['machine_busy_share']:.0%}."
            ),
            soft_wrap=True,
        )


def _subscribers(console: Console, figures: dict[str, Any]) -> None:
    console.print(
        "Subscribers to one stream: ms from the service to them (p50, p95, p99); labels that each heard; "
        f"pictures per second that each of {figures['viewers']} viewers saw at least"
    )
    table = _table("subscribers", "p50", "p95", "p99", "labels", "pictures", "MB", "cores")
    for step in figures["steps"]:
        delay = step["delay_ms"]
        table.add_row(
            str(step["subscribers"]),
            *_latencies(delay),
            f"{step['labels_least']} – {step['labels_most']}",
            f"{step['pictures_per_second_least']:.3g}",
            f"{step['resident_mb']:.0f}",
            f"{step['cores_used']:.2f}",
        )
    console.print(table)


def _latencies(figures: dict[str, float] | None) -> list[str]:
    if figures is None:
        return ["–"] * 3
    return [f"{figures[name]:{'.0f' if figures[name] >= 1000 else '.3g'}}" for name in ("p50", "p95", "p99")]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _table(first: str, *others: str) -> Table:
    table = Table(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
