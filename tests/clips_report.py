"""How well a model does on the third-party clips of ``clips.csv``: one row a clip, then the totals.

    python -m tests.clips_report [--model NAME] [--clips DIR] [--json]

A clip of a label is right if the label of its longest event is the clip's; a negative clip is right if
it has no event. Clips marked HARD or mixed are shown but do not count. The classifier sees every frame.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from models.artifact import load_artifact
from service.config import RunSettings
from service.engines import open_engine
from service.pipeline import run
from service.sinks import Step
from service.sources import open_source
from service.types import Classifier, Event, EventMessage

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"
NEGATIVE = "negative"


class LabelTrace:
    """A sink that keeps the raw and the smoothed label of every frame."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self.raw: list[str] = []
        self.smoothed: list[str] = []

    def write(self, step: Step) -> None:
        assert step.smoothed is not None
        self.raw.append(self._labels[int(step.smoothed.raw.probabilities.argmax())])
        self.smoothed.append(step.smoothed.label)

    def close(self, last: tuple[EventMessage, ...]) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is left behind."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one clip; ``counts`` tells whether it is part of the totals."""

    file: str
    label: str
    counts: bool
    longest: str
    right: bool
    events: list[str]
    frames: int
    seconds: float
    raw_right: float
    raw_changes: int
    smoothed_changes: int


def report_clip(root: Path, file: str, label: str, counts: bool, classifier: Classifier) -> Row:
    trace = LabelTrace(classifier.labels)
    with open_source(str(root / file)) as source:
        result = run(source, Path(file).stem, classifier, RunSettings(), [trace])
    longest = max(result.events, key=_length).label if result.events else ""
    expected = "" if label == NEGATIVE else label
    return Row(
        file=file,
        label=label,
        counts=counts,
        longest=longest,
        right=longest == expected,
        events=[f"{event.label} {event.start_pts:.2f}–{event.end_pts:.2f}" for event in result.events],
        frames=result.frames,
        seconds=round(result.duration, 3),
        raw_right=round(trace.raw.count(label) / len(trace.raw), 4),
        raw_changes=_changes(trace.raw),
        smoothed_changes=_changes(trace.smoothed),
    )


def report_clips(root: Path, classifier: Classifier) -> Iterator[Row]:
    """Classify every clip of one label, and the negative ones, in the order of ``clips.csv``."""
    with (root / "clips.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            if line["label"] and line["label"] != "multi_sport":
                counts = not any(mark in line["shows"] for mark in ("HARD", "SYNTHETIC", "mixed"))
                yield report_clip(root, line["file"], line["label"], counts, classifier)


def totals(rows: list[Row]) -> dict[str, float]:
    """Shares of the clips that count, and label changes per minute over all clips."""
    sports = [row for row in rows if row.counts and row.label != NEGATIVE]
    negative = [row for row in rows if row.counts and row.label == NEGATIVE]
    minutes = sum(row.seconds for row in rows) / 60
    frames = sum(row.frames for row in sports)
    return {
        "clips": len(sports),
        "clips_right": sum(row.right for row in sports) / len(sports),
        "frames_right": sum(row.raw_right * row.frames for row in sports) / frames,
        "negative_clips": len(negative),
        "negative_without_event": sum(row.right for row in negative) / len(negative),
        "raw_changes_per_minute": sum(row.raw_changes for row in rows) / minutes,
        "smoothed_changes_per_minute": sum(row.smoothed_changes for row in rows) / minutes,
    }


def _length(event: Event) -> float:
    return (event.end_pts or event.start_pts) - event.start_pts


def _changes(labels: list[str]) -> int:
    return sum(before != after for before, after in pairwise(labels))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="sports")
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    arguments = parser.parse_args()
    if not (arguments.clips / "clips.csv").is_file():
        sys.exit(f"no clips in {arguments.clips}")
    rows = []
    for row in report_clips(arguments.clips, open_engine(load_artifact(arguments.model))):
        rows.append(row)
        if not arguments.json:
            mark = (
                ("right" if row.right else "WRONG") if row.counts else ("(right)" if row.right else "(wrong)")
            )
            changes = f"{row.raw_changes:4d} → {row.smoothed_changes:2d}"
            print(f"{mark:8}{row.file:44}{row.raw_right:6.1%} {changes}  {'; '.join(row.events)}", flush=True)
    summary = {name: round(value, 4) for name, value in totals(rows).items()}
    if arguments.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], **summary}))
        return
    for name, value in summary.items():
        print(f"{name:28} {value:g}")


if __name__ == "__main__":
    main()
