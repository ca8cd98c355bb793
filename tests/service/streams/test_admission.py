"""Who is let in, and how often each may have a frame classified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from service.config import RunSettings
from service.errors import ConfigurationError, OverloadedError
from service.streams.admission import Admission, AdmissionSettings
from service.streams.records import OnOverload, StreamDefinition, StreamOptions, StreamStatus
from service.types import StreamState


@dataclass
class FakeStream:
    """What admission sees of a stream; ``paces`` are those that its process was told."""

    definition: StreamDefinition
    status: StreamStatus
    announced_fps: float | None = 25.0
    pace: float | None = None
    paces: list[float | None] = field(default_factory=list)

    def grant(self, asked: float, granted: float, pace: float | None) -> None:
        self.status = replace(self.status, asked_rate=asked, granted_rate=granted)
        if pace != self.pace:
            self.pace = pace
            self.paces.append(pace)


def definition(name: str = "new", rate: float | None = None, **options: Any) -> StreamDefinition:
    return StreamDefinition(name=name, source="x", options=StreamOptions(rate=rate, **options))


def stream(
    rate: float | None = None, *, is_live: bool = True, fps: float | None = 25.0, **options: Any
) -> Any:
    status = StreamStatus(name="s", state=StreamState.LIVE, is_live=is_live, fps=fps)
    return FakeStream(definition("s", rate, **options), status)


@pytest.fixture
def admit() -> Callable[..., Admission]:
    def make(capacity: float, *streams: Any) -> Admission:
        admission = Admission(AdmissionSettings(headroom=0.1, least=1.0))
        admission.adapt(streams, capacity, 0.0)
        return admission

    return make


def test_a_rate_without_room_is_refused_with_figures(admit: Callable[..., Admission]) -> None:
    """Who is refused learns how much there is, how much is taken, and what would fit; that then does fit."""
    others = [stream(30.0), stream(20.0), stream()]
    admission = admit(100, *others)
    with pytest.raises(OverloadedError, match="at most 39") as refused:
        admission.check(definition(rate=50.0), others)
    assert refused.value.figures == {"capacity": 100, "promised": 51, "asked": 50, "fits": 39}
    assert not refused.value.waiting_helps
    admission.check(definition(rate=39.0), others)
    admission.check(definition(rate=50.0, on_overload=OnOverload.LOWER), others)
    admission.check(definition(), others)


def test_nothing_fits_when_all_is_promised(admit: Callable[..., Admission]) -> None:
    """A full network takes nobody, not even who would take anything; and says so instead of offering 0.3."""
    others = [stream(89.7)]
    for wanted in (definition(rate=2.0), definition(), definition(rate=9.0, on_overload=OnOverload.LOWER)):
        with pytest.raises(OverloadedError, match="remove a stream") as refused:
            admit(100, *others).check(wanted, others)
        assert refused.value.figures["fits"] == 0


def test_before_the_first_measurement_there_is_room() -> None:
    """While the model is being loaded nobody knows; what is too much is lowered afterwards."""
    Admission(AdmissionSettings()).check(definition(rate=1000.0), [])


def test_waiting_is_advised_only_where_it_helps(admit: Callable[..., Admission]) -> None:
    """A network that was quicker before may be again; one that never was will not."""
    admission = admit(100)
    admission.adapt([], 50, 1.0)
    for rate, helps in ((60.0, True), (95.0, False)):
        with pytest.raises(OverloadedError) as refused:
            admission.check(definition(rate=rate), [])
        assert refused.value.waiting_helps is helps


def test_streams_without_a_rate_share_what_is_left(admit: Callable[..., Admission]) -> None:
    """Promises first; a file asks for its own pace, a slow camera for no more than it sends."""
    promised, camera, slow, film = stream(20.0), stream(), stream(fps=2.0), stream(is_live=False, fps=3.0)
    admission = admit(50, promised, camera, slow, film)
    assert [one.status.asked_rate for one in (promised, camera, slow, film)] == [20, 25, 2, 25]
    assert [one.status.granted_rate for one in (promised, camera, slow, film)] == [20, 11.5, 2, 11.5]
    assert [one.pace for one in (promised, camera, slow, film)] == [None, 11.5, None, 11.5]
    assert (admission.demand, admission.promised) == (72, 23)


def test_all_are_lowered_alike_and_raised_again(
    admit: Callable[..., Admission], caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that slows down keeps nobody waiting for ever, and returns what it took when it is well."""
    streams = [stream(40.0), stream(10.0)]
    admission = admit(100, *streams)
    assert [one.paces for one in streams] == [[], []]
    for now in range(1, 4):
        admission.adapt(streams, 25, float(now))
    assert [one.pace for one in streams] == pytest.approx([18, 4.5])
    assert [len(one.paces) for one in streams] == [1, 1]  # told once, not every second
    assert caplog.text.count("lowered alike") == 1
    for now in range(4, 20):
        admission.adapt(streams, 100, float(now))
    assert [one.pace for one in streams] == [None, None]
    assert [one.status.granted_rate for one in streams] == [40, 10]


def test_who_is_away_leaves_its_share_to_others(admit: Callable[..., Admission]) -> None:
    """A lost camera needs nothing now, but its promise is kept for it; a file that has ended has none."""
    lost, ended, left = stream(), stream(20.0, is_live=False), stream(fps=200.0)
    lost.status = replace(lost.status, state=StreamState.LOST)
    ended.status = replace(ended.status, state=StreamState.ENDED)
    admission = admit(100, lost, ended, left)
    assert (lost.status.granted_rate, ended.status.granted_rate) == (1, 0)
    assert left.status.granted_rate == 89
    assert admission.promised == 2


def test_a_rate_that_hardly_changes_is_not_told_anew(admit: Callable[..., Admission]) -> None:
    """Who comes and goes elsewhere costs a stream no message while it gains or loses next to nothing."""
    camera, other = stream(), stream()
    admission = admit(50, stream(20.0), camera, other)
    for rate in (20.5, 19.5, 25.0):
        admission.divide([stream(rate), camera, other])
    assert camera.paces == [12.5, 10]


def test_who_classifies_every_fifth_frame_asks_for_a_fifth(admit: Callable[..., Admission]) -> None:
    """Of what its camera sends or its film has; no more is set aside for it."""
    settings = RunSettings(every=5)
    camera, film = stream(settings=settings), stream(20.0, is_live=False, settings=settings)
    admission = admit(100, camera, film)
    assert [one.status.asked_rate for one in (camera, film)] == [5, 5]
    assert admission.demand == 10


def test_who_sends_nothing_at_present_takes_nothing_from_others(admit: Callable[..., Admission]) -> None:
    """A camera that stalls, or whose rate is not known yet, asks for what it is promised and no more."""
    stalled, new, left = stream(fps=0.3), stream(fps=None), stream(fps=200.0)
    stalled.status = replace(stalled.status, state=StreamState.STALLED)
    admission = admit(100, stalled, new, left)
    assert [one.status.asked_rate for one in (stalled, new, left)] == [1, 1, 200]
    assert [one.pace for one in (stalled, new, left)] == [None, None, 88]
    assert (admission.demand, admission.promised) == (202, 3)


@pytest.mark.parametrize("settings", [{"headroom": 1.0}, {"headroom": -0.1}, {"least": 0.0}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    """A mistyped share is told at once."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        AdmissionSettings(**settings).check()
