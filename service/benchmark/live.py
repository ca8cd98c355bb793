"""Live streams through the real service: how late labels are, who goes short, and where the limit lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.benchmark.listening import Attention, Audience, Heard
from service.benchmark.machine import cores
from service.benchmark.served import Service, StreamRefusedError
from service.benchmark.statistics import growth_exponent, quantile, significant, slope
from service.errors import BenchmarkError

LATE: Final = 0.3
"""Seconds from capture to label that 95 of 100 labels have to keep to."""
STARVED: Final = 0.9
"""A stream that gets less than this share of its labels goes short."""
LABEL_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 2.0
STEPS_SECONDS: Final = 10.0
VIEWERS: Final = 10
TREND_SECONDS: Final = 20.0
BINS: Final = 40
SATURATED: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """``streams`` at ``rate`` labels per second each, watched for ``seconds``; ``sources`` taken in turn."""

    streams: int
    rate: float
    seconds: float
    sources: tuple[str, ...]
    find_limit: bool = False
    step_seconds: float = STEPS_SECONDS
    most_streams: int = 64


@dataclass(frozen=True, slots=True)
class Load:
    """What the service took meanwhile: cores in use on average, bytes resident and proportional."""

    cores: float
    resident: int
    proportional: int


def measure_streams(
    service: Service,
    audience: Audience,
    plan: LivePlan,
    into: dict[str, Any],
    on_step: Callable[[str], None] = lambda name: None,
) -> None:
    """Add streams in steps up to ``plan.streams``, stay there for a while, then go on to the limit if asked.

    Each stream has one subscriber to its labels and one viewer of its annotated picture.
    """
    before = service.usage()
    crowd = _Crowd(service, audience, plan, on_step)
    steps: list[dict[str, Any]] = []
    into |= {"ready_seconds": significant(service.ready_seconds, 4), "rate": plan.rate, "steps": steps}
    memory = [(0, before.resident, before.proportional)]
    try:
        for count in _steps(plan.streams):
            seconds = plan.seconds if count == plan.streams else plan.step_seconds
            figures, load = crowd.measure(count, seconds)
            steps.append(figures)
            memory.append((count, load.resident, load.proportional))
        into["held"] = steps[-1]
        into["processor_exponent"] = _exponent(steps)
        into |= _memory_per_stream(memory)
        if plan.find_limit:
            into["limit"] = _limit(crowd, plan, steps)
    finally:
        crowd.leave()


def measure_subscribers(
    service: Service,
    audience: Audience,
    stream: str,
    counts: Sequence[int],
    seconds: float,
    on_step: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """How long labels of one stream are on their way to so many subscribers, and what they cost.

    Beside them ``VIEWERS`` watch its picture.
    """
    before = service.usage()
    steps = []
    for count in counts:
        on_step(f"{count} subscribers")
        got, load = _listen(service, audience, (stream,), seconds, subscribers=count, viewers=VIEWERS)
        steps.append(
            fan_out(got, count, VIEWERS, seconds)
            | {
                "cores_used": significant(load.cores, 4),
                "resident_mb": significant(load.resident / 1e6, 5),
            }
        )
    costs = [step["cores_used"] for step in steps]
    marginal = slope([float(count) for count in counts], costs)
    return {
        "viewers": VIEWERS,
        "resident_mb_before": significant(before.resident / 1e6, 5),
        "steps": steps,
        "cores_per_100_subscribers": None if marginal is None else significant(100 * marginal, 3),
    }


def fan_out(got: Attention, subscribers: int, viewers: int, seconds: float) -> dict[str, Any]:
    """Delays from the service to its subscribers, in ms, and how much each subscriber and viewer got."""
    counts: dict[int, int] = dict.fromkeys(range(subscribers), 0)
    for one in got.heard:
        counts[one.subscriber] += 1
    return {
        "subscribers": subscribers,
        "labels_least": min(counts.values()),
        "labels_most": max(counts.values()),
        "delay_ms": _milliseconds([one.delay for one in got.heard]),
        "pictures_per_second_least": significant(
            min(got.pictures) / seconds if len(got.pictures) == viewers else 0.0, 4
        ),
    }


def judge(heard: Sequence[Heard], streams: Sequence[str], seconds: float, rate: float) -> dict[str, Any]:
    """Latencies in ms, labels per second of each stream, and whether the age of frames grows."""
    counts = dict.fromkeys(streams, 0)
    for one in heard:
        counts[one.stream] += 1
    rates = sorted(count / seconds for count in counts.values())
    latency = _milliseconds([one.latency for one in heard])
    age_slope = _age_slope(heard)
    starved = [name for name, count in counts.items() if count / seconds < STARVED * rate]
    return {
        "streams": len(streams),
        "seconds": significant(seconds, 4),
        "latency_ms": latency,
        "labels_per_second": {
            "least": significant(rates[0], 4),
            "median": significant(quantile(rates, 0.5), 4),
            "all": significant(sum(rates), 4),
        },
        "starved": len(starved),
        "frame_age_ms": _milliseconds([one.age for one in heard]),
        "frame_age_slope_ms_per_minute": None if age_slope is None else significant(60e3 * age_slope, 3),
        "frames_between_labels": significant(sum(one.skipped for one in heard) / max(1, len(heard)), 3),
        "holds": not starved and latency is not None and latency["p95"] <= 1000 * LATE,
    }


class _Crowd:
    """The streams that run, of which there are ever more."""

    def __init__(
        self, service: Service, audience: Audience, plan: LivePlan, on_step: Callable[[str], None]
    ) -> None:
        self._service = service
        self._audience = audience
        self._plan = plan
        self._on_step = on_step
        self.names: list[str] = []

    def leave(self) -> None:
        """Take all streams off again."""
        for name in self.names:
            self._service.remove(name)

    def measure(self, count: int, seconds: float) -> tuple[dict[str, Any], Load]:
        """Raises ``StreamRefusedError`` where the service takes no more."""
        self._on_step(f"{count} streams")
        plan = self._plan
        while len(self.names) < count:
            number = len(self.names)
            name = f"benchmark{number}"
            source = plan.sources[number % len(plan.sources)]
            # Without the gate: every label is one of the network's, whatever the camera shows.
            self._service.add(name, source, rate=plan.rate, view_rate=plan.rate, gate=False)
            self.names.append(name)
        self._service.wait_for_labels(self.names, LABEL_SECONDS)
        names = tuple(self.names)
        _listen(self._service, self._audience, names, SETTLE_SECONDS)
        got, load = _listen(self._service, self._audience, names, seconds)
        figures = judge(got.heard, names, seconds, plan.rate)
        lost = sum(self._service.stream(name)["restarts"] for name in names)
        figures |= {
            "cores_used": significant(load.cores, 4),
            "resident_mb": significant(load.resident / 1e6, 5),
            "proportional_mb": significant(load.proportional / 1e6, 5),
            "restarts": lost,
        }
        return figures, load


def _listen(
    service: Service,
    audience: Audience,
    streams: tuple[str, ...],
    seconds: float,
    *,
    subscribers: int = 1,
    viewers: int = 1,
) -> tuple[Attention, Load]:
    before, began = service.usage(), time.monotonic()
    got = audience.listen(service.url, streams, seconds, subscribers=subscribers, viewers=viewers)
    took = time.monotonic() - began
    after = service.usage()
    used = (after.cpu_seconds - before.cpu_seconds) / took
    return got, Load(used, after.resident, after.proportional)


def _limit(crowd: _Crowd, plan: LivePlan, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Add one stream after the other until one goes short or labels come late; say what was used up."""
    held = max((step["streams"] for step in steps if step["holds"]), default=0)
    if held < plan.streams:
        return _verdict(held, steps[-1], "not even what was asked for could be held")
    last = steps[-1]
    for count in range(plan.streams + 1, plan.most_streams + 1):
        try:
            last, _ = crowd.measure(count, plan.step_seconds)
        except BenchmarkError as error:
            kind = "the service refuses more" if isinstance(error, StreamRefusedError) else "a stream failed"
            return _verdict(held, last, f"{kind}: {error}")
        steps.append(last)
        if not last["holds"]:
            return _verdict(held, last, "a stream goes short" if last["starved"] else "labels come late")
        held = count
    return _verdict(held, last, f"none found up to {held}")


def _verdict(held: int, last: dict[str, Any], because: str) -> dict[str, Any]:
    share = last["cores_used"] / cores()
    bound = "the processor" if share >= SATURATED else "something else than the processor"
    return {
        "streams": held,
        "because": because,
        "processor_share_beyond": significant(share, 3),
        "bound_by": bound,
    }


def _steps(streams: int) -> list[int]:
    """A quarter, a half, all.

    >>> _steps(12), _steps(1)
    ([3, 6, 12], [1])
    """
    return sorted({max(1, streams // 4), max(1, streams // 2), streams})


def _exponent(steps: Sequence[dict[str, Any]]) -> float | None:
    exponent = growth_exponent([step["streams"] for step in steps], [step["cores_used"] for step in steps])
    return None if exponent is None else significant(exponent, 3)


def _memory_per_stream(memory: Sequence[tuple[int, int, int]]) -> dict[str, float | None]:
    """Megabytes that each further stream takes; of the first, inference warms up too, so it is left out."""
    known = memory[1:] if len(memory) > 2 else memory
    counts = [float(count) for count, _, _ in known]
    figures = {}
    for name, column in (("resident", 1), ("proportional", 2)):
        per_stream = slope(counts, [float(row[column]) for row in known])
        figures[f"{name}_mb_per_stream"] = None if per_stream is None else significant(per_stream / 1e6, 4)
    return figures


def _age_slope(heard: Sequence[Heard]) -> float | None:
    """Seconds of age per second of time, over the medians of equal stretches of time.

    ``None`` for less than ``TREND_SECONDS``: of so short a time nobody can tell.
    """
    first, last = (pick((one.at for one in heard), default=0.0) for pick in (min, max))
    if last - first < TREND_SECONDS:
        return None
    width = max(1.0, (last - first) / BINS)
    bins: dict[int, list[float]] = {}
    for one in heard:
        bins.setdefault(int((one.at - first) / width), []).append(one.age)
    places = sorted(bins)
    return slope([width * place for place in places], [quantile(bins[place], 0.5) for place in places])


def _milliseconds(seconds: Sequence[float]) -> dict[str, float] | None:
    """Quantiles; ``None`` where nothing was heard."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
    if not seconds:
        return None
    return {name: significant(1000 * quantile(seconds, share), 4) for name, share in shares.items()}
