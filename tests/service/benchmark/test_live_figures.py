"""What is made of what subscribers heard; pure."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from service.benchmark.listening import Attention, Heard
from service.benchmark.live import fan_out, judge, verdict
from service.benchmark.report import show
from service.benchmark.served import StreamRefusedError


def labels(
    stream: str, count: int, *, latency: float = 0.1, rate: float = 5.0, growth: float = 0.0
) -> list[Heard]:
    """``count`` labels of a stream, evenly; ``growth`` is what each adds to the age of its frame."""
    return [Heard(stream, 0, 1000 + i / rate, latency, 0.004, latency + growth * i, 4) for i in range(count)]


def test_all_get_theirs() -> None:
    """Streams that get their labels in time hold, with the figures that say so."""
    heard = labels("a", 150) + labels("b", 150, latency=0.2)
    figures = judge(heard, ("a", "b"), 30.0, 5.0)
    assert figures["holds"]
    assert figures["starved"] == 0
    assert figures["labels_per_second"] == {"least": 5.0, "median": 5.0, "all": 10.0}
    assert figures["latency_ms"] == {"p50": 150, "p95": 200, "p99": 200, "most": 200}
    assert figures["frame_age_slope_ms_per_minute"] == 0
    assert figures["frames_between_labels"] == 4


def test_one_that_starves_is_seen() -> None:
    """A stream that goes short, or gets nothing, does not vanish in the mean of the others."""
    figures = judge(labels("a", 50) + labels("b", 40), ("a", "b", "c"), 10.0, 5.0)
    assert figures["starved"] == 2
    assert figures["labels_per_second"]["least"] == 0
    assert not figures["holds"]


def test_late_labels_do_not_hold() -> None:
    """Six late labels in a hundred are more than p95 allows."""
    heard = labels("a", 94) + labels("a", 6, latency=0.5)
    assert not judge(heard, ("a",), 20.0, 5.0)["holds"]
    heard = labels("a", 96) + labels("a", 4, latency=0.5)
    assert judge(heard, ("a",), 20.0, 5.0)["holds"]


def test_growing_age_is_seen() -> None:
    """Latency that creeps up shows long before anybody is late: 1 ms per label is 300 a minute."""
    figures = judge(labels("a", 300, growth=0.001), ("a",), 60.0, 5.0)
    assert 290 < figures["frame_age_slope_ms_per_minute"] < 310


def test_trend_needs_time() -> None:
    """Of a few seconds no growth is told: a single late label would look like one."""
    assert judge(labels("a", 50, growth=0.01), ("a",), 10.0, 5.0)["frame_age_slope_ms_per_minute"] is None


def test_nothing_heard_is_no_success() -> None:
    """Silence has no latency, and does not hold."""
    figures = judge([], ("a",), 10.0, 5.0)
    assert figures["latency_ms"] is None
    assert not figures["holds"]


def test_fan_out_counts_each_subscriber() -> None:
    """A subscriber who heard less than the others is told of."""
    heard = [Heard("a", number, 0.0, 0.1, 0.002, 0.1, 0) for number in (0, 0, 1)]
    figures = fan_out(Attention(heard, [40, 30]), 3, 2, 10.0)
    assert (figures["labels_least"], figures["labels_most"]) == (0, 2)
    assert figures["delay_ms"]["p99"] == 2
    assert figures["pictures_per_second_least"] == 3
    assert fan_out(Attention(heard, [40]), 3, 2, 10.0)["pictures_per_second_least"] == 0


@pytest.mark.parametrize(
    ("busy", "bound"), [(0.95, "the processor"), (0.5, "something else than the processor")]
)
def test_the_processor_is_that_of_all(busy: float, bound: str) -> None:
    """Camera and listeners take the same cores: what the service alone uses says nothing of what is left."""
    step = {"streams": 4, "starved": 1, "holds": False, "cores_used": 0.1, "machine_busy_share": busy}
    limit = verdict([step | {"streams": 3, "holds": True}, step], None)
    assert (limit["streams"], limit["because"]) == (3, "a stream goes short")
    assert (limit["bound_by"], limit["machine_busy_share"]) == (bound, busy)


def test_a_refusal_is_not_judged_by_the_processor() -> None:
    """Refused is a stream for the network's measured capacity, however idle the others leave the machine."""
    step = {"streams": 6, "starved": 0, "holds": True, "machine_busy_share": 0.97}
    figures = {"capacity": 35.0, "promised": 30.0, "asked": 5.0, "fits": 1.5}
    limit = verdict([step], StreamRefusedError("no room", figures))
    assert limit["bound_by"] == "the network's measured capacity"
    assert limit["admission"] == figures
    limit = verdict([step], StreamRefusedError("there are 256 streams", {}))
    assert (limit["bound_by"], limit["admission"]) == ("what the service allows", None)
    assert verdict([step], None)["bound_by"] is None


def test_tables_fit_a_terminal() -> None:
    """No heading is cut off at 80 columns, and a latency of more than a second is no power of ten."""
    load = {"cores_used": 12.34, "machine_busy_share": 1.0, "resident_mb": 12345.0}
    step = judge(labels("a", 150, latency=1.234), ("a",), 30.0, 5.0) | load
    heard = Attention(labels("a", 150, latency=0.1), [400] * 10)
    subscribers = {"viewers": 10, "steps": [fan_out(heard, 200, 10, 30.0) | load]}
    result = {
        "machine": {"processor": "some", "cores": 2},
        "settings": {"network": "n 1"},
        "skipped": {},
        "streams": {"steps": [step]},
        "subscribers": subscribers,
    }
    out = io.StringIO()
    show(Console(file=out, width=80), result)
    assert "…" not in out.getvalue()
    assert "1234" in out.getvalue()
