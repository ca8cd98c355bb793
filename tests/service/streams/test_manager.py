"""What the manager does where the processes of streams do not do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from service import event_log
from service.addresses import AddressPolicy
from service.database import Database
from service.errors import StoppingError, StreamExistsError
from service.event_log import EventLog
from service.streams import store
from service.streams.manager import StreamLimits, StreamManager
from service.streams.records import StreamDefinition, StreamOptions
from service.streams.store import StreamStore
from service.supervisor import ChildSpec, ChildState, ChildStatus
from tests.service.live import ColourModel

FIRST, SECOND = "rtsp://10.0.0.1/a", "rtsp://10.0.0.2/a"


class StuckSupervisor:
    """Processes that can be started; while ``stuck`` none ends, as one that hangs in a device driver."""

    def __init__(self) -> None:
        self.stuck = False
        self.started: dict[str, str] = {}

    def start(self, spec: ChildSpec) -> None:
        assert spec.name not in self.started
        self.started[spec.name] = spec.args[0].source  # type: ignore[attr-defined]

    def stop(self, name: str, timeout: float) -> None:
        if not self.stuck:
            self.started.pop(name, None)

    def status(self, name: str) -> ChildStatus | None:
        return ChildStatus(name, ChildState.STOPPING) if name in self.started else None


@pytest.fixture
def supervisor() -> StuckSupervisor:
    return StuckSupervisor()


@pytest.fixture
def manager(tmp_path: Path, supervisor: StuckSupervisor) -> Iterator[StreamManager]:
    loop = asyncio.new_event_loop()
    with Database(tmp_path / "test.db", event_log.SCHEMA + store.SCHEMA) as database:
        limits = StreamLimits(policy=AddressPolicy(("10.0.0.0/8",)))
        made = StreamManager(
            StreamStore(database),
            EventLog(database),
            ColourModel(),
            supervisor,  # type: ignore[arg-type]
            tmp_path,
            limits,
            loop,
        )
        yield made
        made.close()
    loop.close()


def test_a_stream_whose_process_does_not_end_can_be_changed_once_it_has(
    manager: StreamManager, supervisor: StuckSupervisor
) -> None:
    """Until then no stream is shown for which there is no process."""
    manager.add(StreamDefinition(name="door", source=FIRST))
    supervisor.stuck = True
    with pytest.raises(StoppingError, match="does not end"):
        manager.change("door", SECOND, None)
    assert supervisor.started == {"stream door": FIRST}
    supervisor.stuck = False
    assert manager.change("door", SECOND, None) is manager.get("door")
    assert supervisor.started == {"stream door": SECOND}


def test_a_name_is_free_once_its_recordings_are_gone(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing many takes its time; those of the next stream of this name must not go with them."""
    manager.add(StreamDefinition(name="door", source=FIRST))
    refused = []

    def delete(name: str) -> None:
        with pytest.raises(StreamExistsError) as error:
            manager.add(StreamDefinition(name=name, source=SECOND))
        refused.append(error)

    monkeypatch.setattr(manager._archive, "delete", delete)
    manager.remove("door", with_recordings=True)
    assert refused
    assert manager.all() == ()


def test_a_stream_that_comes_while_recordings_are_tidied_is_spared(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is writing by then is no leftover of a stream that is gone."""
    found = []

    def tidy(now: float, streams: Collection[str]) -> None:
        manager.add(StreamDefinition(name="door", source=FIRST))
        found.append("door" in streams)

    monkeypatch.setattr(manager._archive, "tidy", tidy)
    manager.tidy()
    assert found == [True]


def test_changes_at_once_are_made_one_on_top_of_the_other(manager: StreamManager) -> None:
    """Each of them was told that it was made: none may be lost to another that had looked before."""
    manager.add(StreamDefinition(name="door", source=FIRST))
    with ThreadPoolExecutor(2) as threads:
        others = []

        def first(options: StreamOptions) -> StreamOptions:
            others.append(threads.submit(manager.change, "door", None, second))
            return replace(options, rate=3.0)

        def second(options: StreamOptions) -> StreamOptions:
            return replace(options, view_rate=5.0)

        manager.change("door", None, first)
        others[0].result(30)
    assert manager.get("door").definition.options == StreamOptions(rate=3.0, view_rate=5.0)


def test_what_is_left_of_a_changed_stream_is_stored_first(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the disk holds it up: the end of the events that were open would end those that follow."""
    monkeypatch.setattr("service.streams.manager.DRAIN_SECONDS", 0.1)
    stored: list[str] = []
    hanging = Future[None]()
    before = manager.add(StreamDefinition(name="door", source=FIRST))
    before._journal.enter(lambda: hanging)
    before._journal.enter(lambda: stored.append("before"))
    after = manager.change("door", SECOND, None)
    after._journal.enter(lambda: stored.append("after"))
    after._journal.close(0.1)
    hanging.set_result(None)
    after._journal.close(60)
    assert stored == ["before", "after"]


def test_a_name_is_free_once_its_process_has_gone(
    manager: StreamManager, supervisor: StuckSupervisor
) -> None:
    manager.add(StreamDefinition(name="door", source=FIRST))
    supervisor.stuck = True
    manager.remove("door")
    with pytest.raises(StoppingError):
        manager.add(StreamDefinition(name="door", source=SECOND))
    assert manager.all() == ()
    supervisor.started.clear()
    manager.add(StreamDefinition(name="door", source=SECOND))
    assert supervisor.started == {"stream door": SECOND}
