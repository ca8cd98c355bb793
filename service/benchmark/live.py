"""Live streams through the real service: how late labels are, who goes short, and where the limit lies."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.benchmark.listening import Attention, Audience, Heard
from service.benchmark.machine import BusyWatch, Usage
from service.benchmark.served import Service, StreamRefusedError
from service.benchmark.statistics import growth_exponent, quantile, rounded, significant, slope
from service.errors import BenchmarkError

LATE: Final = 0.3
"""Seconds from capture to label that 95 of 100 labels have to keep to."""
STARVED: Final = 0.9
"""A stream that gets less than this share of its labels goes short."""
LABEL_SECONDS: Final = 60.0
VIEWERS: Final = 10
LISTENED_TO: Final = "listened_to"
"""The stream of the many subscribers."""
TREND_SECONDS: Final = 20.0
BINS: Final = 40
SATURATED: Final = 0.9
"""A machine that is busy for more than this share of its time has no processor left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """``streams`` at ``rate`` labels per second each, watched for ``seconds``; ``sources`` taken in turn.

    The steps on the way there, and beyond it with ``find_limit``, take ``step_seconds`` each.
    """

    streams: int
    rate: float
    seconds: float
    step_seconds: float
    sources: tuple[str, ...]
    find_limit: bool = False
    most_streams: int = 64


def measure_streams(
    service: Service,
    audience: Audience,
    plan: LivePlan,
    into: dict[str, Any],
    on_step: Callable[[str], None] = lambda name: None,
) -> None:
    """Add streams in steps up to ``plan.streams``, stay there for a while, then go on to the limit if asked.

    Where the service refuses one of them, those that it took are held for the whole time, and that is the
    limit. Each stream has one subscriber to its labels and one viewer of its annotated picture. Figures go
    ``into`` as they come.

    Raises ``BenchmarkError`` if a stream fails, ``StreamRefusedError`` if the service takes not even one.
    """
    idle = service.usage()
    crowd = _Crowd(service, audience, plan, on_step)
    steps: list[dict[str, Any]] = []
    into |= {"ready_seconds": significant(service.ready_seconds, 4), "rate": plan.rate, "steps": steps}
    try:
        for count in _steps(plan.streams):
            crowd.grow(count)
            is_last = count == plan.streams or crowd.refusal is not None
            figures = crowd.measure(plan.seconds if is_last else plan.step_seconds)
            # As many as in the step before were watched longer now: that counts.
            steps[:] = [step for step in steps if step["streams"] < figures["streams"]] + [figures]
            into |= _costs(steps, idle)
            if is_last:
                break
        into["held"] = steps[-1]
        if plan.find_limit or crowd.refusal:
            into["limit"] = _limit(crowd, plan, steps)
    finally:
        crowd.leave()


def measure_subscribers(
    service: Service,
    audience: Audience,
    source: str,
    counts: Sequence[int],
    seconds: float,
    into: dict[str, Any],
    on_step: Callable[[str], None] = lambda name: None,
) -> None:
    """How long labels of one stream are on their way to so many subscribers, and what they cost.

    Beside them ``VIEWERS`` watch its picture. Figures go ``into`` as they come. Raises ``BenchmarkError`` if
    the stream fails or is refused.
    """
    service.add(LISTENED_TO, source, gate=False)
    service.wait_for_labels((LISTENED_TO,), LABEL_SECONDS)
    before = service.usage()
    steps: list[dict[str, Any]] = []
    for count in counts:
        on_step(f"{count} subscribers")
        got, load = _listen(service, audience, (LISTENED_TO,), seconds, subscribers=count, viewers=VIEWERS)
        steps.append(fan_out(got, count, VIEWERS, seconds) | load)
        cores = slope([step["subscribers"] for step in steps], [step["cores_used"] for step in steps])
        into |= {
            "viewers": VIEWERS,
            "resident_mb_before": significant(before.resident / 1e6, 5),
            "steps": steps,
            "cores_per_100_subscribers": rounded(cores and 100 * cores, 3),
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
        "frame_age_slope_ms_per_minute": rounded(age_slope and 60e3 * age_slope, 3),
        "frames_between_labels": significant(sum(one.skipped for one in heard) / max(1, len(heard)), 3),
        "holds": not starved and latency is not None and latency["p95"] <= 1000 * LATE,
    }


class _Crowd:
    """The streams that run, of which there are ever more; ``refusal`` is why the service takes no further."""

    def __init__(
        self, service: Service, audience: Audience, plan: LivePlan, on_step: Callable[[str], None]
    ) -> None:
        self._service = service
        self._audience = audience
        self._plan = plan
        self._on_step = on_step
        self.names: list[str] = []
        self.refusal: StreamRefusedError | None = None

    def leave(self) -> None:
        """Take all streams off again."""
        for name in self.names:
            with contextlib.suppress(BenchmarkError):  # of a service that is gone, which has been told
                self._service.remove(name)

    def grow(self, count: int) -> None:
        """Up to ``count`` streams, or as many as the service takes; it raises why if that is none."""
        plan = self._plan
        while len(self.names) < count:
            number = len(self.names)
            name = f"benchmark{number}"
            source = plan.sources[number % len(plan.sources)]
            try:
                # Without the gate: every label is one of the network's, whatever the camera shows.
                self._service.add(name, source, rate=plan.rate, view_rate=plan.rate, gate=False)
            except StreamRefusedError as error:
                if not self.names:
                    raise
                self.refusal = error
                return
            self.names.append(name)

    def measure(self, seconds: float) -> dict[str, Any]:
        """Raises ``BenchmarkError`` for a stream without labels."""
        names = tuple(self.names)
        self._on_step(f"{len(names)} streams")
        self._service.wait_for_labels(names, LABEL_SECONDS)
        got, load = _listen(self._service, self._audience, names, seconds)
        restarts = sum(self._service.stream(name)["restarts"] for name in names)
        return judge(got.heard, names, seconds, self._plan.rate) | load | {"restarts": restarts}


def _listen(
    service: Service,
    audience: Audience,
    streams: tuple[str, ...],
    seconds: float,
    *,
    subscribers: int = 1,
    viewers: int = 1,
) -> tuple[Attention, dict[str, float]]:
    """What an audience got, and what the service, and all together, took of the machine meanwhile."""
    audience.begin(service.url, streams, seconds, subscribers=subscribers, viewers=viewers)
    before, busy, began = service.usage(), BusyWatch(), time.monotonic()
    got = audience.end()
    took, share, after = time.monotonic() - began, busy.share(), service.usage()
    return got, {
        "cores_used": significant((after.cpu_seconds - before.cpu_seconds) / took, 4),
        "machine_busy_share": significant(share, 3),
        "resident_mb": significant(after.resident / 1e6, 5),
        "proportional_mb": significant(after.proportional / 1e6, 5),
    }


def _limit(crowd: _Crowd, plan: LivePlan, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Add one stream after the other until one goes short, comes late, fails or is refused."""
    try:
        while steps[-1]["holds"] and crowd.refusal is None and len(crowd.names) < plan.most_streams:
            crowd.grow(len(crowd.names) + 1)
            if crowd.refusal is None:
                steps.append(crowd.measure(plan.step_seconds))
    except BenchmarkError as error:
        return verdict(steps, error)
    return verdict(steps, crowd.refusal)


def verdict(steps: Sequence[dict[str, Any]], error: BenchmarkError | None) -> dict[str, Any]:
    """How many streams held, why no more did, and what that was bound by, where it is known.

    ``error`` kept a further stream from being measured, which a last step that did not hold has forestalled.
    """
    last, bound, admission = steps[-1], None, None
    if not last["holds"]:
        because = "a stream goes short" if last["starved"] else "labels come late"
        busy = last["machine_busy_share"] >= SATURATED
        bound = "the processor" if busy else "something else than the processor"
    elif isinstance(error, StreamRefusedError):
        because = f"the service refuses more: {error}"
        admission = error.figures or None
        bound = "the network's measured capacity" if admission else "what the service allows"
    elif error:
        because = f"a stream failed: {error}"
    else:
        because = f"none found up to {last['streams']}"
    return {
        "streams": max((step["streams"] for step in steps if step["holds"]), default=0),
        "because": because,
        "bound_by": bound,
        "admission": admission,
        "machine_busy_share": last["machine_busy_share"],
    }


def _steps(streams: int) -> list[int]:
    """A quarter, a half, all.

    >>> _steps(12), _steps(1)
    ([3, 6, 12], [1])
    """
    return sorted({max(1, streams // 4), max(1, streams // 2), streams})


def _costs(steps: Sequence[dict[str, Any]], idle: Usage) -> dict[str, float | None]:
    """Cores and megabytes that each further stream takes; the power of their number with which cores grow.

    With the first stream inference warms up, too: where there are more, its memory is not reckoned with.
    """
    counts = [float(step["streams"]) for step in steps]
    cores = [step["cores_used"] for step in steps]
    figures = {
        "processor_exponent": rounded(growth_exponent(counts, cores), 3),
        "cores_per_stream": rounded(slope(counts, cores), 3),
    }
    for name, none in (("resident", idle.resident), ("proportional", idle.proportional)):
        megabytes = [step[f"{name}_mb"] for step in steps]
        per_stream = slope(counts, megabytes) if len(steps) > 1 else (megabytes[0] - none / 1e6) / counts[0]
        figures[f"{name}_mb_per_stream"] = rounded(per_stream, 4)
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
