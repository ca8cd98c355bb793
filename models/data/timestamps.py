"""Labelled stretches of time (``01:20:05 - 01:20:34 label``) to labels of frames, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median_low

from models.data.listing import BACKGROUND, as_label
from models.errors import DatasetError

_SECOND = 1_000_000
_COMMENT = re.compile(r"(^|\s)#.*")
_TIME = r"(?:(\d{1,4}):)?(\d{1,6}):(\d{1,2})(?:[.,](\d{1,6}))?"
_LINE = re.compile(rf"{_TIME}\s*(?:-|–|—|-->)\s*{_TIME}\s+(\S.*)")


@dataclass(frozen=True, slots=True)
class Span:
    """``label`` from ``start`` to before ``end``, in microseconds; ``line`` is where it stands, or 0."""

    start: int
    end: int
    label: str
    line: int = 0

    def __str__(self) -> str:
        return f"{format_time(self.start)} - {format_time(self.end)} {self.label}"


def read_timestamps(file: Path) -> tuple[Span, ...]:
    """Parse a file; see ``parse_timestamps``."""
    try:
        return parse_timestamps(file.read_text(encoding="utf-8-sig"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read: {error}") from error


def parse_timestamps(text: str, name: str = "timestamps") -> tuple[Span, ...]:
    """Spans by time, of lines ``start - end label``.

    A time is ``hh:mm:ss`` or ``mm:ss``, with up to six decimals. Empty lines, and what follows ``#`` at
    the start of a line or after a space, are passed over. Raises DatasetError with the number of the line,
    or of both lines where two overlap; ``name`` is that of the text for it.
    """
    spans = []
    for number, line in enumerate(text.splitlines(), 1):
        content = _COMMENT.sub("", line).strip()
        if content:
            spans.append(_parse_line(content, number, name))
    spans.sort(key=lambda span: (span.start, span.line))
    latest: Span | None = None
    for span in spans:
        if latest is not None and span.start < latest.end:
            first, second = sorted((latest, span), key=lambda one: one.line)
            raise DatasetError(
                f"{name}, line {first.line} ({first}) and line {second.line} ({second}) overlap"
            )
        latest = span
    return tuple(spans)


def _parse_line(content: str, number: int, name: str) -> Span:
    match = _LINE.fullmatch(content)
    if match is None:
        raise DatasetError(f"{name}, line {number}: {content!r} is not like '01:20:05 - 01:20:34 label'")
    cells = match.groups()
    try:
        start, end = _microseconds(*cells[:4]), _microseconds(*cells[4:8])
        label = as_label(str(cells[8]).strip())
    except DatasetError as error:
        raise DatasetError(f"{name}, line {number}: {error}") from error
    if end <= start:
        raise DatasetError(f"{name}, line {number}: {content!r} ends before it starts")
    return Span(start, end, label, number)


def _microseconds(hours: str | None, minutes: str | None, seconds: str | None, decimals: str | None) -> int:
    if int(seconds or 0) > 59 or (hours is not None and int(minutes or 0) > 59):
        raise DatasetError(f"{hours + ':' if hours else ''}{minutes}:{seconds} has more than 59 of something")
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * _SECOND + int((decimals or "").ljust(6, "0"))


def format_time(microseconds: int) -> str:
    """``hh:mm:ss``, with as many decimals as it takes.

    >>> format_time(4805 * 1_000_000), format_time(1_040_000)
    ('01:20:05', '00:00:01.04')
    """
    seconds, rest = divmod(microseconds, _SECOND)
    decimals = f".{rest:06d}".rstrip("0").rstrip(".")
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{decimals}"


def format_timestamps(spans: Iterable[Span]) -> str:
    """The text that ``parse_timestamps`` reads, a line a span.

    Raises DatasetError for a label that it would take for a comment.
    """
    lines = []
    for span in spans:
        if _COMMENT.search(span.label):
            raise DatasetError(
                f"label {span.label!r} has a '#' after a space, which begins a comment; rename it"
            )
        lines.append(f"{span}\n")
    return "".join(lines)


def label_at(spans: Sequence[Span], seconds: float, outside: str = BACKGROUND) -> str:
    """The label at a time, to the microsecond; ``outside`` where there is none."""
    from bisect import bisect_right

    time = round(seconds * _SECOND)
    place = bisect_right(spans, time, key=lambda span: span.start) - 1
    return spans[place].label if place >= 0 and time < spans[place].end else outside


def after_the_end(spans: Sequence[Span], last: float) -> str:
    """A sentence about lines that begin after the last frame, at ``last`` seconds; empty if there is none."""
    late = [span for span in spans if span.start > round(last * _SECOND)]
    if not late:
        return ""
    lines, first = "1 line" if len(late) == 1 else f"{len(late)} lines", late[0]
    return (
        f"{lines} of {len(spans)} after the last frame, which is at {format_time(round(last * _SECOND))}: "
        f"line {first.line} ({first}){' first' if len(late) > 1 else ''}"
    )


def to_frames(
    spans: Sequence[Span], fps: float, count: int, outside: str = BACKGROUND, times: Sequence[float] = ()
) -> list[str]:
    """The labels of ``count`` frames: i is at ``times[i]`` seconds, and after the last of them at ``fps``."""
    check_rate(fps)
    return [label_at(spans, time_of(index, fps, times), outside) for index in range(count)]


def from_frames(
    labels: Sequence[tuple[int, str]], fps: float, outside: str = BACKGROUND, times: Sequence[float] = ()
) -> tuple[Span, ...]:
    """Spans of equal labels, of frames (index, label) in rising order.

    Frame i is at ``times[i]`` seconds, and after the last of them at ``fps``. Frames may be every second or
    tenth of a clip; where one is missing between two, a span ends. Raises DatasetError for frames in
    another order.
    """
    check_rate(fps)
    gaps = [later - index for (index, _), (later, _) in pairwise(labels)]
    if any(gap <= 0 for gap in gaps):
        raise DatasetError("frames are not in rising order, or one is there twice")
    step = int(median_low(gaps)) if gaps else 1
    spans: list[Span] = []
    first = 0
    for place, (index, label) in enumerate(labels):
        if place + 1 < len(labels) and gaps[place] < 2 * step:
            following, end = labels[place + 1][1], labels[place + 1][0]
        else:
            following, end = None, index + step
        if following != label:
            if label != outside:
                start, stop = (round(time_of(i, fps, times) * _SECOND) for i in (labels[first][0], end))
                spans.append(Span(start, stop, label))
            first = place + 1
    return tuple(spans)


def time_of(index: int, fps: float, times: Sequence[float] = ()) -> float:
    """When a frame is, in seconds: at ``times[index]``, and after the last of them at ``fps``."""
    if index < len(times):
        return times[index]
    return times[-1] + (index - len(times) + 1) / fps if times else index / fps


def check_rate(fps: float) -> float:
    """``fps``, or DatasetError if it cannot be a frame rate."""
    if not 0 < fps <= 1000:
        raise DatasetError(f"{fps:g} is not a frame rate; expected more than 0 and at most 1000")
    return fps
