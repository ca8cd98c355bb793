"""One connection to a live source, frame by frame and without threads; network and listener are stand-ins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, pairwise
from typing import cast

import pytest

from service.annotate import Annotator
from service.config import RunSettings
from service.sources import Source
from service.streams import session
from service.streams.messages import Announced, Labelled, Told
from service.streams.outlet import Outlet
from service.streams.recogniser import Recogniser, Result
from service.streams.records import StreamOptions
from service.streams.screen import Screen
from service.streams.session import Limits, LiveSession
from service.types import Frame, Image, SourceProperties, StreamState
from tests.service.fakes import ColourClassifier, scene
from tests.service.streams.cameras import QUICK, picture

COLOURS = ColourClassifier()
UNJUDGED = StreamOptions(settings=QUICK, blind_after=0, frozen_after=0)


class Pictures:
    """A live source of 10 frames per second; ``drift`` is by how many seconds each comes later than that."""

    ended_early, ending = False, None

    def __init__(self, images: Iterator[Image], drift: float = 0.0) -> None:
        self.properties = SourceProperties(64, 48, 10.0, None, is_live=True)
        self.frames_read = 0
        self._images = images
        self._drift = drift

    def read(self) -> Frame | None:
        index, image = self.frames_read, next(self._images, None)
        if image is None:
            return None
        self.frames_read += 1
        return Frame("cam", index, index / 10, index * (0.1 + self._drift), image)

    def close(self) -> None:
        pass


class EveryFrame:
    """In place of ``NewestFrame``: no frame comes before the one before it is through."""

    dropped = 0

    def __init__(self, source: Source) -> None:
        self._source = source

    def take(self, timeout: float) -> Frame | None:
        return self._source.read()

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


class Network:
    """Has its answer when it is next asked, but for while it ``hangs``; ``seconds`` as of ``Result``."""

    def __init__(self, seconds: float | None = 0.01) -> None:
        self.hangs = False
        self.submitted: list[float] = []
        self._seconds = seconds
        self._result: Result | None = None

    @property
    def is_idle(self) -> bool:
        return self._result is None

    def is_away(self, now: float) -> bool:
        return False

    def submit(self, frame: Frame, era: int) -> None:
        self.submitted.append(frame.pts)
        said = COLOURS.classify(COLOURS.model_input(frame.image)[None])[0]
        at = frame.index, frame.pts, frame.captured_at
        self._result = Result(era, *at, COLOURS.labels, said, {}, self._seconds)

    def take(self) -> Result | None:
        if self.hangs:
            return None
        result, self._result = self._result, None
        return result

    def calling(self, on_result: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Listener:
    """Keeps what it is told."""

    wanted = False

    def __init__(self, pace: float | None = None) -> None:
        self.pace = pace
        self.told: list[Told] = []
        self.states: list[StreamState] = []

    def pulse(self) -> bool:
        return True

    def tell(self, told: Told) -> None:
        self.told.append(told)

    def stand(self, state: StreamState, reason: str | None = None) -> None:
        self.states.append(state)

    def count(self, **counts: object) -> None:
        pass

    @property
    def labelled(self) -> list[int]:
        return [told.index for told in self.told if isinstance(told, Labelled)]


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "NewestFrame", EveryFrame)


def follow(source: Pictures, network: Network, listener: Listener, options: StreamOptions = UNJUDGED) -> None:
    """Work on the source until it ends."""
    outlet = cast(Outlet, listener)
    LiveSession(
        source,
        options,
        cast(Recogniser, network),
        outlet,
        Screen(outlet, options, None, 10.0),
        Annotator(),
        map(str, count()).__next__,
        Limits(),
    ).run()


def test_what_was_seen_before_blindness_does_not_count_after_it() -> None:
    """An answer that comes late, when the camera sees again, is of another stretch of sight."""
    network, listener = Network(), Listener()

    def images() -> Iterator[Image]:
        yield from (picture("bright", number) for number in range(10))
        network.hangs = True
        yield picture("bright", 10)
        yield from (picture("black", number) for number in range(11, 30))
        yield from (picture("bright", number) for number in range(30, 36))
        network.hangs = False
        yield from (picture("bright", number) for number in range(36, 40))

    follow(Pictures(images()), network, listener, StreamOptions(settings=QUICK, frozen_after=0))
    assert StreamState.BLIND in listener.states
    assert listener.states[-1] is StreamState.LIVE
    assert listener.labelled == [*range(10), *range(36, 40)]


def test_what_was_seen_before_a_loss_does_not_count_after_it() -> None:
    """The answer to the last frame of a connection is none to the next connection."""
    network, listener = Network(), Listener()
    network.hangs = True
    follow(Pictures(iter([scene("red")])), network, listener)
    network.hangs = False
    follow(Pictures(iter([scene("blue")] * 3)), network, listener)
    assert network.submitted == [0.0, 0.0, 0.1, 0.2]
    assert listener.labelled == [0, 1, 2]


def test_an_event_keeps_its_time_while_the_camera_s_clock_drifts() -> None:
    """One epoch dates all messages of an event; the next event has the newer one."""
    listener, options = Listener(), replace(UNJUDGED, settings=RunSettings(window=4, merge_gap=1.0))
    scenes = (["background"] * 30 + ["red"] * 30 + ["background"] * 30 + ["blue"] * 30) * 2
    follow(Pictures((scene(name) for name in scenes), drift=0.1), Network(), listener, options)
    epochs: dict[str, list[float]] = {}
    for told in listener.told:
        if isinstance(told, Announced) and told.epoch is not None:
            epochs.setdefault(told.message.event.id, []).append(told.epoch)
    assert [len(set(of_event)) for of_event in epochs.values()] == [1] * 4
    starts = [of_event[0] for of_event in epochs.values()]
    assert [later - first for first, later in pairwise(starts)] == pytest.approx([6.0] * 3, abs=0.05)


def test_frames_that_cost_the_network_nothing_use_up_no_pace() -> None:
    """What looks like the frame before is free: only what is classified counts against the pace."""
    for seconds, expected in ((None, 30), (0.01, 12)):
        network = Network(seconds)
        follow(Pictures(iter([scene("red")] * 30)), network, Listener(pace=4.0))
        assert len(network.submitted) == expected


def test_a_rate_is_kept_on_average() -> None:
    """Four a second of a camera of ten: the frame that comes a little late does not delay the next."""
    network = Network()
    follow(Pictures(iter([scene("red")] * 100)), network, Listener(), replace(UNJUDGED, rate=4.0))
    assert len(network.submitted) == 40
