"""How streams are added until no more go, with a service and listeners that only say how it would be."""

from __future__ import annotations

from typing import Any

import pytest

from service.benchmark.listening import Attention, Heard
from service.benchmark.live import VIEWERS, LivePlan, measure_streams, measure_subscribers
from service.benchmark.machine import Usage
from service.benchmark.served import StreamRefusedError
from service.errors import BenchmarkError

ROOM = {"capacity": 30.0, "promised": 25.0, "asked": 5.0, "fits": 2.0}


class PretendService:
    """Takes ``room`` streams; each takes 50 MB. Those from number ``dead`` on stay mute."""

    url = "http://127.0.0.1:1"
    ready_seconds = 1.0

    def __init__(self, room: int, dead: int | None = None) -> None:
        self.room = room
        self.dead = dead
        self.names: list[str] = []
        self.seconds = 0.0

    def add(self, name: str, source: str, **options: Any) -> None:
        if len(self.names) >= self.room:
            raise StreamRefusedError(f"stream {name} was refused (429: there is no room)", ROOM)
        self.names.append(name)

    def remove(self, name: str) -> None:
        self.names.remove(name)

    def stream(self, name: str) -> dict[str, Any]:
        return {"restarts": 0}

    def wait_for_labels(self, names: tuple[str, ...], seconds: float) -> None:
        if self.dead is not None and len(names) > self.dead:
            raise BenchmarkError(f"stream {names[self.dead]} is lost")

    def usage(self) -> Usage:
        self.seconds += 0.1 * len(self.names)
        size = 100_000_000 + 50_000_000 * len(self.names)
        return Usage(self.seconds, size, size // 2)


class PretendAudience:
    """Every stream is heard five times a second; beyond ``most`` of them labels come late."""

    def __init__(self, most: int = 99) -> None:
        self.most = most
        self.watched: list[tuple[int, float]] = []

    def begin(self, url: str, streams: tuple[str, ...], seconds: float, **counts: int) -> None:
        self.watched.append((len(streams), seconds))
        latency = 0.1 if len(streams) <= self.most else 0.9
        self._got = Attention(
            [
                Heard(stream, 0, i / 5, latency, 0.01, latency, 0)
                for stream in streams
                for i in range(5 * int(seconds))
            ]
        )

    def end(self) -> Attention:
        return self._got


def measured(
    service: PretendService, audience: PretendAudience, *, streams: int = 12, find_limit: bool = True
) -> dict[str, Any]:
    plan = LivePlan(
        streams=streams,
        rate=5.0,
        seconds=900.0,
        step_seconds=10.0,
        sources=("http://camera/",),
        find_limit=find_limit,
    )
    into: dict[str, Any] = {}
    measure_streams(service, audience, plan, into)  # type: ignore[arg-type]
    return into


@pytest.mark.parametrize("find_limit", [True, False])
@pytest.mark.parametrize(("room", "steps"), [(5, [3, 5]), (6, [3, 6]), (2, [2])])
def test_what_the_service_took_is_held_all_the_time(room: int, steps: list[int], find_limit: bool) -> None:
    """Asked for more than it takes, the benchmark holds what it took, and says who refused and why."""
    service, audience = PretendService(room), PretendAudience()
    figures = measured(service, audience, find_limit=find_limit)
    assert audience.watched[-1] == (room, 900.0)
    assert figures["held"]["streams"] == room
    assert figures["held"]["seconds"] == 900
    assert [step["streams"] for step in figures["steps"]] == steps
    assert figures["resident_mb_per_stream"] is not None
    limit = figures["limit"]
    assert limit["streams"] == room
    assert limit["because"].startswith("the service refuses more: stream benchmark")
    assert limit["bound_by"] == "the network's measured capacity"
    assert limit["admission"] == ROOM
    assert service.names == []


def test_not_even_one_is_an_error() -> None:
    """Where nothing could be held there are no figures, but a reason."""
    with pytest.raises(StreamRefusedError, match="there is no room"):
        measured(PretendService(0), PretendAudience())


def test_streams_are_added_until_one_is_refused() -> None:
    """What was asked for is held for long; each further one is tried for a short time."""
    audience = PretendAudience()
    figures = measured(PretendService(6), audience, streams=4)
    assert audience.watched == [(1, 10), (2, 10), (4, 900), (5, 10), (6, 10)]
    assert figures["held"]["streams"] == 4
    assert figures["limit"]["streams"] == 6


def test_late_labels_are_the_limit() -> None:
    """The last step that held is the limit, and the one that did not is kept to look at."""
    figures = measured(PretendService(99), PretendAudience(most=5), streams=4)
    assert [step["holds"] for step in figures["steps"]] == [True, True, True, True, False]
    assert (figures["limit"]["streams"], figures["limit"]["because"]) == (5, "labels come late")


def test_a_stream_that_fails_ends_the_search_only() -> None:
    """A camera that breaks off beyond what was asked for costs none of the figures before."""
    figures = measured(PretendService(99, dead=5), PretendAudience(), streams=4)
    limit = figures["limit"]
    assert limit["streams"] == 5
    assert limit["because"] == "a stream failed: stream benchmark5 is lost"
    assert limit["bound_by"] is None


def test_what_a_stream_costs() -> None:
    """Memory of the first one is left out, where there are others to tell by."""
    figures = measured(PretendService(99), PretendAudience(), streams=4, find_limit=False)
    assert figures["resident_mb_per_stream"] == 50
    assert figures["proportional_mb_per_stream"] == 25
    assert figures["cores_per_stream"] > 0
    assert "limit" not in figures
    alone = measured(PretendService(99), PretendAudience(), streams=1, find_limit=False)
    assert alone["resident_mb_per_stream"] == 50
    assert alone["cores_per_stream"] is None


class ImpatientAudience:
    """Every subscriber hears ten labels, until somebody presses Ctrl-C in the third step."""

    def __init__(self) -> None:
        self.steps = 0

    def begin(
        self, url: str, streams: tuple[str, ...], seconds: float, *, subscribers: int, viewers: int
    ) -> None:
        self.steps += 1
        heard = [
            Heard(streams[0], one, i / 5, 0.1, 0.01, 0.1, 0) for one in range(subscribers) for i in range(10)
        ]
        self._got = Attention(heard, [20] * viewers)

    def end(self) -> Attention:
        if self.steps == 3:
            raise KeyboardInterrupt
        return self._got


def test_ctrl_c_keeps_the_steps_that_are_done() -> None:
    """What some subscribers have heard is told, though the most have not been listened to."""
    figures: dict[str, Any] = {}
    with pytest.raises(KeyboardInterrupt):
        measure_subscribers(
            PretendService(1),  # type: ignore[arg-type]
            ImpatientAudience(),  # type: ignore[arg-type]
            "http://camera/",
            (50, 100, 200),
            2.0,
            figures,
        )
    assert [step["subscribers"] for step in figures["steps"]] == [50, 100]
    assert figures["viewers"] == VIEWERS
    assert figures["cores_per_100_subscribers"] is not None
