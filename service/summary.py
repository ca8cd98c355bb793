"""What a person reads of a run when it is over."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.pipeline import RunResult
from service.types import Event


def show(console: Console, result: RunResult, files: Sequence[Path]) -> None:
    """Print the events as a table, and where the files lie."""
    if result.events:
        table = Table("event", "start", "end", "mean", "peak", "delay", "ended by")
        for event in result.events:
            table.add_row(*_cells(event))
        console.print(table)
    else:
        console.print("no events")
    unchanged = f", {result.reused} of them unchanged" if result.reused else ""
    length = f"{timecode(result.duration)} at {result.fps:.5g} fps"
    console.print(f"{_frames(result)}{unchanged}, {length}")
    for path in files:
        console.print(Text(str(path)), soft_wrap=True)


def explain(result: RunResult) -> None:
    """Say on stderr, a line for each reason, why the outputs do not cover the whole source, if so."""
    if result.interrupted:
        seen = f"results cover the first {timecode(result.duration)} ({_frames(result)})"
        print(f"video-events: interrupted; {seen}", file=sys.stderr)
    if result.ended_early:
        print(f"video-events: {result.ended_early}", file=sys.stderr)


def _frames(result: RunResult) -> str:
    return f"{result.frames} frame{'s' if result.frames != 1 else ''}"


def _cells(event: Event) -> tuple[str | Text, ...]:
    return (
        Text(event.label),
        timecode(event.start_pts),
        timecode(event.end_pts or 0.0),
        f"{event.mean_confidence:.1%}",
        f"{event.peak_confidence:.1%}",
        f"{event.detect_delay:.3f} s",
        str(event.end_reason).replace("_", " "),
    )


def timecode(seconds: float) -> str:
    """Media time as ``mm:ss.mmm``, or ``h:mm:ss.mmm`` from one hour on.

    >>> timecode(63.0504), timecode(3600)
    ('01:03.050', '1:00:00.000')
    """
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minute = divmod(minutes, 60)
    tail = f"{minute:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    return f"{hours}:{tail}" if hours else tail
