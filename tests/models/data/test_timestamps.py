"""Stretches of time become labels of frames, and come back from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.timestamps import (
    Span,
    format_timestamps,
    from_frames,
    label_at,
    parse_timestamps,
    to_frames,
)
from models.errors import DatasetError

LABELS = st.sampled_from(["background", "badminton", "ice hockey", "seal-1"])
RATES = st.sampled_from([1.0, 5.0, 12.5, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 59.94, 240.0])


@given(st.lists(LABELS, max_size=200), RATES)
def test_labels_survive_the_way_through_timestamps(labels: list[str], fps: float) -> None:
    """Frames to spans to text and back to frames changes no label, at any usual frame rate."""
    text = format_timestamps(from_frames(list(enumerate(labels)), fps))
    assert to_frames(parse_timestamps(text), fps, len(labels)) == labels


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), max_size=20), st.randoms())
def test_text_survives_the_way_through_spans(gaps: list[tuple[int, int]], random: object) -> None:
    """Spans written in any order are read again to the microsecond, by time."""
    spans, time = [], 0
    for gap, length in gaps:
        spans.append(Span(time + gap, time + gap + length, "a"))
        time += gap + length
    shuffled = list(spans)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = parse_timestamps(format_timestamps(shuffled))
    assert [(span.start, span.end) for span in found] == [(span.start, span.end) for span in spans]


def test_every_usual_way_to_write_a_time() -> None:
    """Hours may be absent; decimals, comments, empty lines and dashes of all kinds are understood."""
    text = "# match\n\n01:20:05 - 01:20:34 badminton\n00:01.5–00:02,25 a b # rally\n90:00 --> 91:00 c\n"
    assert [(s.start, s.end, s.label, s.line) for s in parse_timestamps(text)] == [
        (1_500_000, 2_250_000, "a b", 4),
        (4_805_000_000, 4_834_000_000, "badminton", 3),
        (5_400_000_000, 5_460_000_000, "c", 5),
    ]


def test_a_span_holds_to_before_its_end() -> None:
    """Lines that touch do not overlap, and the moment between them belongs to the later."""
    spans = parse_timestamps("0:00 - 0:01 a\n0:01 - 0:02 b\n")
    found = [label_at(spans, time, "none") for time in (0.0, 0.999, 1.0, 1.999999, 2.0)]
    assert found == ["a", "a", "b", "b", "none"]


def test_frames_that_are_missing_end_a_span() -> None:
    """Of every tenth frame a span still holds to the next; where one is missing, nothing is claimed."""
    frames = [(0, "a"), (10, "a"), (20, "b"), (30, "b"), (60, "b")]
    assert [(s.start, s.end, s.label) for s in from_frames(frames, 10.0)] == [
        (0, 2_000_000, "a"),
        (2_000_000, 4_000_000, "b"),
        (6_000_000, 7_000_000, "b"),
    ]
    with pytest.raises(DatasetError, match="rising order"):
        from_frames([(3, "a"), (3, "b")], 10.0)


def test_one_missing_frame_ends_a_span() -> None:
    """Of every tenth frame the one at 20 is not there: what it showed is not claimed."""
    spans = from_frames([(0, "a"), (10, "a"), (30, "a"), (40, "a")], 10.0)
    assert [(span.start, span.end) for span in spans] == [(0, 2_000_000), (3_000_000, 5_000_000)]


def test_frames_of_an_unsteady_clip_are_where_they_were_shown() -> None:
    """A phone's frames come when there is light enough; a rate alone would put labels on others."""
    times = [0.0, 0.1, 0.5, 0.6, 1.4]
    labels = to_frames(parse_timestamps("0:00.5 - 0:01 a\n"), 4.0, 5, times=times)
    assert labels == ["background", "background", "a", "a", "background"]
    spans = from_frames(list(enumerate(["a", "b", "b", "a", "a"])), 4.0, times=times)
    assert [(s.start, s.end, s.label) for s in spans] == [
        (0, 100_000, "a"),
        (100_000, 600_000, "b"),
        (600_000, 1_650_000, "a"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:01 - 0:02\n", "line 1: '0:01 - 0:02' is not like"),
        ("0:01 a\n", "line 1"),
        ("\n0:99 - 1:00 a\n", "line 2: 0:99 has more than 59"),
        ("1:60:00 - 2:00:00 a\n", "more than 59"),
        ("0:02 - 0:02 a\n", "ends before it starts"),
        ("0:01 - 0:02 a/b\n", "line 1: 'a/b' cannot name a label"),
        ("0:10 - 0:20 a\n0:00 - 0:05 b\n0:04 - 0:06 c\n", "line 2 .* and line 3 .* overlap"),
        ("0:00 - 1:00 a\n0:01 - 0:02 b\n", r"line 1 \(00:00:00 - 00:01:00 a\) and line 2"),
        ("9" * 5000 + ":00 - 0:01 a\n", "line 1"),
    ],
)
def test_mistakes_are_told_with_their_lines(text: str, message: str) -> None:
    """A person finds the line at once; of an overlap both."""
    with pytest.raises(DatasetError, match=message):
        parse_timestamps(text)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), 1e9])
def test_absurd_rates_are_refused(fps: float) -> None:
    """No rate that cannot be leads to labels."""
    with pytest.raises(DatasetError, match="frame rate"):
        to_frames((), fps, 1)


def test_labels_that_would_be_comments_are_refused() -> None:
    """Rather than come back shorter."""
    with pytest.raises(DatasetError, match="'goal #2'"):
        format_timestamps([Span(0, 1_000_000, "goal #2")])
    assert parse_timestamps(format_timestamps([Span(0, 1_000_000, "goal#2")]))[0].label == "goal#2"
