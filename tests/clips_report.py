"""How well a model does on the third-party clips of ``clips.csv``: one row a clip, then the totals.

    python -m tests.clips_report [--model NAME] [--clips DIR] [--json]

A clip of a label is right if the label of its longest event is the clip's; a negative clip is right if
it has no event. Clips marked HARD or mixed are shown but do not count. The classifier sees every frame;
then the same is done with the gate (``service.gating``), which has to find the same events.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.artifact import load_artifact
from service.config import RunSettings
from service.engines import open_engine
from service.engines.delegating import DelegatingClassifier
from service.pipeline import RunResult, run
from service.sinks import Step
from service.sources import open_source
from service.types import Classifier, Event, EventMessage

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"
NEGATIVE = "negative"
SAME = 0.2


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


class Remembering(DelegatingClassifier):
    """A classifier that knows what it has said: the same inputs cost the network nothing a second time."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier)
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        keys = [sha256(image.tobytes()).digest() for image in inputs]
        unknown = [i for i, key in enumerate(keys) if key not in self._known]
        if unknown:
            for i, probabilities in zip(unknown, self._classifier.classify(inputs[unknown]), strict=True):
                self._known[keys[i]] = probabilities
        return np.stack([self._known[key] for key in keys])


class OneView(DelegatingClassifier):
    """A classifier that sees every frame in its first view, so that nothing of the frame before comes in."""

    views = 1


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one clip; ``counts`` tells whether it is part of the totals.

    ``alone_changes`` is how often the label of a frame alone, seen in one view, differs from that before it,
    ``raw_changes`` that of a frame pooled with the one before, ``smoothed_changes`` that of the average.
    ``reused`` is the share of frames that the gate keeps from the network, ``same_with_gate`` whether the
    events are the same with it, start and end up to ``SAME`` seconds.
    """

    file: str
    label: str
    counts: bool
    longest: str
    right: bool
    events: list[str]
    frames: int
    seconds: float
    raw_right: float
    alone_changes: int
    raw_changes: int
    smoothed_changes: int
    reused: float
    same_with_gate: bool


def report_clip(root: Path, file: str, label: str, counts: bool, classifier: Classifier) -> Row:
    trace, alone = LabelTrace(classifier.labels), LabelTrace(classifier.labels)
    known = Remembering(classifier)
    with open_source(str(root / file)) as source:
        result = run(source, Path(file).stem, known, RunSettings(), [trace])
    with open_source(str(root / file)) as source:
        run(source, Path(file).stem, OneView(known), RunSettings(), [alone])
    with open_source(str(root / file)) as source:
        gated = run(source, Path(file).stem, known, RunSettings(gate=True))
    longest = max(result.events, key=_length).label if result.events else ""
    expected = "" if label == NEGATIVE else label
    return Row(
        file=file,
        label=label,
        counts=counts,
        longest=longest,
        right=longest == expected,
        events=written(result),
        frames=result.frames,
        seconds=round(result.duration, 3),
        raw_right=round(trace.raw.count(label) / len(trace.raw), 4),
        alone_changes=_changes(alone.raw),
        raw_changes=_changes(trace.raw),
        smoothed_changes=_changes(trace.smoothed),
        reused=round(gated.reused / gated.frames, 4),
        same_with_gate=are_same(result, gated, SAME),
    )


def report_clips(root: Path, classifier: Classifier) -> Iterator[Row]:
    """Classify every clip of one label, and the negative ones, in the order of ``clips.csv``."""
    for file, label, counts in listed(root):
        yield report_clip(root, file, label, counts, classifier)


def listed(root: Path) -> Iterator[tuple[str, str, bool]]:
    """File and label of these clips, and whether each is part of the totals."""
    with (root / "clips.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            if line["label"] and line["label"] != "multi_sport":
                counts = not any(mark in line["shows"] for mark in ("HARD", "SYNTHETIC", "mixed"))
                yield line["file"], line["label"], counts


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
        "reused": sum(row.reused * row.frames for row in rows) / sum(row.frames for row in rows),
        "same_with_gate": sum(row.same_with_gate for row in rows) / len(rows),
        "alone_changes_per_minute": sum(row.alone_changes for row in rows) / minutes,
        "raw_changes_per_minute": sum(row.raw_changes for row in rows) / minutes,
        "smoothed_changes_per_minute": sum(row.smoothed_changes for row in rows) / minutes,
    }


def are_same(one: RunResult, other: RunResult, tolerance: float) -> bool:
    """Whether both have the same events, starts and ends up to ``tolerance`` seconds."""
    if [event.label for event in one.events] != [event.label for event in other.events]:
        return False
    return all(
        abs(before.start_pts - after.start_pts) <= tolerance and abs(_end(before) - _end(after)) <= tolerance
        for before, after in zip(one.events, other.events, strict=True)
    )


def written(result: RunResult) -> list[str]:
    """Label, start and end of each event."""
    return [f"{event.label} {event.start_pts:.2f}–{event.end_pts:.2f}" for event in result.events]


def _end(event: Event) -> float:
    assert event.end_pts is not None
    return event.end_pts


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
            changes = f"{row.alone_changes:4d} → {row.raw_changes:3d} → {row.smoothed_changes:2d}"
            gated = f"{row.reused:5.1%}{' ' if row.same_with_gate else '!'}"
            print(
                f"{mark:8}{row.file:44}{row.raw_right:6.1%} {changes} {gated} {'; '.join(row.events)}",
                flush=True,
            )
    summary = {name: round(value, 4) for name, value in totals(rows).items()}
    if arguments.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], **summary}))
        return
    for name, value in summary.items():
        print(f"{name:28} {value:g}")


if __name__ == "__main__":
    main()
