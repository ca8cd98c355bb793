"""The seam between streams and inference: real processes, real kills, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from service.engines.restricted import RestrictedClassifier
from service.errors import InferenceFullError, InferenceLostError
from service.inference import server
from service.inference.capacity import CapacityEstimate
from service.inference.client import read_statistics
from service.inference.queueing import BatchSettings, Priority
from service.inference.server import InferenceListener, InferenceServer, InferenceSettings
from service.inference.shared import RemoteModel
from service.inference.wire import Answer, Hello, InferenceAddress, Purpose, Request
from service.supervisor import ChildSpec, ChildState, Supervisor
from service.types import Classifier, ServedModel
from service.windows import lanes_of
from tests.service.children import (
    PATIENCE,
    QUICK,
    BrightnessClassifier,
    SideBySide,
    be_a_service,
    classify_on_and_on,
    connect,
    inference_spec,
    inputs_of,
    is_alive,
    load_nothing,
    named_memory,
    wait_until,
)
from tests.service.live import TIMED

SOCKET = (socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Service:
    """A supervised inference process."""

    def __init__(self, listener: InferenceListener, supervisor: Supervisor) -> None:
        self.listener = listener
        self.supervisor = supervisor
        self.address = listener.address

    def start(
        self,
        settings: InferenceSettings | None = None,
        load: Callable[[], BrightnessClassifier] = BrightnessClassifier,
    ) -> None:
        self.supervisor.start(inference_spec(self.listener, settings, load))

    def pid(self, name: str = "inference") -> int:
        wait_until(lambda: (s := self.supervisor.status(name)) and s.state is ChildState.RUNNING)
        status = self.supervisor.status(name)
        assert status
        assert status.pid
        return status.pid

    def clients(self) -> int:
        return read_statistics(self.address, timeout=15).clients


@pytest.fixture
def service() -> Iterator[Service]:
    with InferenceListener() as listener:
        supervisor = Supervisor()
        yield Service(listener, supervisor)
        supervisor.close(timeout=2.0)


def held_by(pid: int) -> tuple[int, int]:
    """Descriptors and mappings of shared model inputs that a process holds."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return len(os.listdir(f"/proc/{pid}/fd")), maps.count("memfd:model-inputs")


def holds_no_more(pid: int, before: tuple[int, int]) -> bool:
    """Compared with an earlier moment, at which a descriptor may just have been on its way out."""
    return all(now <= then for now, then in zip(held_by(pid), before, strict=True))


def sockets_named(address: InferenceAddress) -> int:
    return Path("/proc/net/unix").read_text().count("@" + address.name[1:].decode())


def brightness(classifier: Classifier, *levels: int) -> list[float]:
    return [round(float(row[1]) * 255) for row in classifier.classify(inputs_of(*levels))]


def test_is_a_classifier_like_any_other(service: Service) -> None:
    """The same inputs give the same rows in order, in any number, also behind another classifier."""
    service.start(InferenceSettings(max_slots=4))
    with connect(service.address, slots=9) as classifier:
        levels = list(range(0, 250, 11))
        assert classifier.labels == ("dark", "bright", "pid")
        assert classifier.model_input(np.zeros((3, 5, 3), np.uint8)).shape == (224, 224, 3)
        assert brightness(classifier, *levels) == levels
        assert brightness(classifier, 7) == [7]
        assert classifier.classify(inputs_of(1)[:0]).shape == (0, 3)
        rows = classifier.classify(inputs_of(1, 2))
        assert rows.dtype == np.float32
        assert set(rows[:, 2]) == {service.pid()}
        assert RestrictedClassifier(classifier, ["bright"]).classify(inputs_of(9)).shape == (1, 1)
        with pytest.raises(ValueError, match=r"expected \(N, 224, 224, 3\) uint8"):
            classifier.classify(np.zeros((1, 8, 8, 3), np.uint8))


def test_inputs_of_several_streams_share_a_batch(service: Service) -> None:
    """The network runs once for many streams, each gets its own rows, and everything is counted."""
    batching = BatchSettings(max_batch=6, max_wait=10.0)
    service.start(InferenceSettings(batching=batching))
    priorities = [Priority.LIVE, Priority.LIVE, Priority.UPLOAD]
    classifiers = [connect(service.address, priority=priority) for priority in priorities]
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(brightness, classifiers, [1, 11, 21], [2, 12, 22]))
    assert answers == [[1, 2], [11, 12], [21, 22]]
    counted = read_statistics(service.address)
    assert counted.batch_sizes == (0, 0, 0, 0, 0, 1)
    assert sum(counted.batch_seconds.counts) == 1
    assert 0 < counted.batch_seconds.total < 5
    assert (sum(counted.live_wait_seconds.counts), sum(counted.upload_wait_seconds.counts)) == (4, 2)
    assert (counted.clients, counted.depth, counted.refused, counted.lost_inputs) == (3, 0, 0, 0)
    for classifier in classifiers:
        classifier.close()


def test_a_clip_has_its_next_inputs_waiting(service: Service) -> None:
    """Two threads of one clip are not in turn: the network finds what comes next when it is through."""
    service.start(InferenceSettings(batching=BatchSettings(max_batch=6, max_wait=10.0)))
    model = RemoteModel(cast("ServedModel", BrightnessClassifier()), service.address)
    levels = [[1, 2, 3], [11, 12, 13]]
    with (
        closing(model.open(batch_size=3)) as classifier,
        ThreadPoolExecutor(lanes_of(classifier)) as threads,
    ):
        answers = list(threads.map(lambda own: brightness(classifier, *own), levels))
    assert answers == levels
    assert read_statistics(service.address).batch_sizes == (0, 0, 0, 0, 0, 1)


def test_inputs_go_side_by_side_through_an_engine_that_can(service: Service) -> None:
    """One by one, two at a time; every client gets its own rows in order, whoever leaves amid that."""
    service.start(InferenceSettings(max_slots=4), load=partial(SideBySide, seconds=0.005))
    leaver = ChildSpec("leaver", classify_on_and_on, (service.address, Priority.LIVE), backoff=QUICK)
    service.supervisor.start(leaver)
    os.kill(service.pid("leaver"), signal.SIGKILL)
    service.supervisor.stop("leaver")
    classifiers = [connect(service.address) for _ in range(3)]
    levels = [list(range(first, 250, 41)) for first in (0, 1, 2)]
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda one, own: brightness(one, *own), classifiers, levels))
    assert answers == levels
    counted = read_statistics(service.address)
    assert len(counted.batch_sizes) == 1
    assert counted.batch_sizes[0] >= sum(map(len, levels))
    assert counted.capacity > 0
    for classifier in classifiers:
        classifier.close()


def test_lanes_that_take_turns_are_not_taken_for_hanging(service: Service) -> None:
    """Where one input is always halfway through when another is done, the network is slow but goes on."""
    service.start(load=partial(SideBySide, seconds=0.6))
    pid = service.pid()
    ends_at = time.monotonic() + 4

    def classify(delay: float) -> None:
        with connect(service.address) as classifier:
            time.sleep(delay)
            while time.monotonic() < ends_at:
                assert brightness(classifier, 5) == [5]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(classify, (0.0, 0.3, 0.35, 0.45)))
    assert service.pid() == pid


def test_killed_clients_free_their_room_and_block_nobody(service: Service) -> None:
    """Streams die at any moment, in the middle of a request too; a healthy one goes on all the while."""
    service.start(load=partial(BrightnessClassifier, seconds=0.002))
    pid = service.pid()
    with connect(service.address) as healthy:
        before = held_by(pid)
        gaps = []
        for _ in range(3):
            for name in ("a", "b"):
                args = (service.address, Priority.UPLOAD)
                service.supervisor.start(ChildSpec(name, classify_on_and_on, args, backoff=QUICK))
            victims = [service.pid(name) for name in ("a", "b")]
            assert held_by(pid)[1] > before[1]
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            for name in ("a", "b"):
                service.supervisor.stop(name)
            start = time.monotonic()
            assert brightness(healthy, 40, 50) == [40, 50]
            gaps.append(time.monotonic() - start)
        wait_until(lambda: service.clients() == 1)
        wait_until(lambda: holds_no_more(pid, before))
        assert max(gaps) < 2.0
    assert service.pid() == pid


@TIMED
def test_lost_inference_is_told_in_time() -> None:
    """Nobody restarts the process, or the service is gone too: a stream knows within its timeout."""
    with InferenceListener() as listener:
        address = listener.address
        with Supervisor() as supervisor:
            service = Service(listener, supervisor)
            service.start()
            service.pid()
            classifier = connect(address, timeout=0.5)
        start = time.monotonic()
        with pytest.raises(InferenceLostError, match=r"no answer from the inference process within 0\.5 s"):
            classifier.classify(inputs_of(1))
        assert 0.5 <= time.monotonic() - start < 1.5
        with pytest.raises(InferenceLostError):
            read_statistics(address, timeout=0.2)
    with pytest.raises(InferenceLostError):
        classifier.classify(inputs_of(1))
    with pytest.raises(InferenceLostError):
        read_statistics(address)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_streams_ride_out_a_restart(service: Service, fault: signal.Signals) -> None:
    """The inference process dies or hangs while streams wait for answers: the next one gives them all."""
    service.start(load=partial(BrightnessClassifier, seconds=0.25))
    first = service.pid()
    beats = threading.Event()
    classifiers = [connect(service.address, while_waiting=beats.set) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(classifier.classify, inputs_of(5, 6)) for classifier in classifiers]
        wait_until(lambda: any(answer.running() for answer in answers))
        os.kill(first, fault)
        rows = [answer.result(timeout=30) for answer in answers]
    second = service.pid()
    assert second != first
    for row in rows[1:]:
        assert [round(float(p) * 255) for p in row[:, 1]] == [5, 6]
    later = [classifier.classify(inputs_of(9))[0] for classifier in classifiers]
    assert {int(row[2]) for row in later} == {second}
    assert beats.is_set(), "a stream that waits must be able to give a sign of life"
    assert not is_alive(first)
    for classifier in classifiers:
        classifier.close()


def test_a_failing_engine_is_started_afresh(service: Service, tmp_path: Path) -> None:
    """An engine that fails takes its process along, says why, and costs the stream no answer."""
    service.start(load=partial(BrightnessClassifier, order=tmp_path / "fail"))
    with connect(service.address) as classifier:
        (tmp_path / "fail").touch()
        assert brightness(classifier, 8, 9) == [8, 9]
    status = service.supervisor.status("inference")
    assert status
    assert (status.failures, status.reason) == (1, "RuntimeError: the device is lost")


def test_waiting_can_be_given_up(service: Service) -> None:
    """A stream that is to stop does not sit out the timeout; a late answer is not taken for another's."""
    service.start(load=partial(BrightnessClassifier, seconds=0.3))
    orders: list[type[BaseException]] = []

    def look() -> None:
        if orders:
            raise orders.pop()

    classifier = connect(service.address, while_waiting=look)
    orders.append(InterruptedError)
    with pytest.raises(InterruptedError):
        classifier.classify(inputs_of(77))
    assert brightness(classifier, 88) == [88]
    classifier.close()


def test_no_more_clients_than_there_is_room_for(service: Service) -> None:
    """A limit holds, is told by a typed error, and room is there again when one leaves."""
    service.start(InferenceSettings(max_clients=2))
    first, second = connect(service.address), connect(service.address)
    with pytest.raises(InferenceFullError, match="serves 2 clients"):
        connect(service.address)
    assert read_statistics(service.address).refused == 1
    first.close()
    wait_until(lambda: service.clients() == 1)
    with connect(service.address), second:
        assert service.clients() == 2


@pytest.mark.parametrize(
    "messages",
    [
        [b"GET / HTTP/1.1"],
        [Hello(Purpose.LIVE, 1).pack()[:-1]],
        [Hello(Purpose.LIVE, 2).pack(), b"?"],
        [Hello(Purpose.LIVE, 2).pack(), Request(1, 3, 1, 0.0).pack()],
        [Hello(Purpose.LIVE, 2).pack(), Request(1, 0, 1, 0.0).pack()],
        [Hello(Purpose.LIVE, 2).pack(), Request(1, 1, 1, float("nan")).pack()],
        [Hello(Purpose.LIVE, 2).pack(), Request(1, 2, 1, 1e12).pack(), Request(2, 2, 1, 1e12).pack()],
    ],
    ids=["stranger", "short", "gibberish", "too many", "none", "no time", "out of turn"],
)
def test_who_breaks_the_rules_is_shown_out(quiet_service: Service, messages: list[bytes]) -> None:
    """One bad client costs itself the connection, and nobody else anything."""
    pid = quiet_service.pid()
    with connect(quiet_service.address) as healthy:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bad:
            bad.settimeout(15)
            bad.connect(quiet_service.address.name)
            for message in messages:
                bad.send(message)
            while bad.recv(65536):
                pass
        assert brightness(healthy, 3) == [3]
        wait_until(lambda: quiet_service.clients() == 1)
        assert {int(row[2]) for row in healthy.classify(inputs_of(1))} == {pid}


@pytest.fixture(scope="module")
def quiet_service() -> Iterator[Service]:
    """One service for the tests that do it no harm; it holds requests back for half a second."""
    with InferenceListener() as listener:
        supervisor = Supervisor()
        service = Service(listener, supervisor)
        service.start(InferenceSettings(batching=BatchSettings(max_wait=0.5)))
        yield service
        supervisor.close(timeout=2.0)


def test_an_engine_that_cannot_load_is_told(service: Service) -> None:
    """Missing weights show in the status of the process, and streams get an error that says where to look."""
    service.start(load=load_nothing)
    with pytest.raises(InferenceLostError):
        connect(service.address, timeout=1.0)
    wait_until(lambda: (s := service.supervisor.status("inference")) and s.reason)
    status = service.supervisor.status("inference")
    assert status
    assert status.reason == "ValueError: no weights"


def test_another_model_is_not_taken_for_the_same(service: Service) -> None:
    """After a restart with other labels a stream ends with an error instead of naming things wrongly."""
    service.start()
    classifier = connect(service.address)
    service.supervisor.stop("inference")
    service.start(load=partial(BrightnessClassifier, third="other"))
    with pytest.raises(InferenceLostError, match="another model"):
        classifier.classify(inputs_of(1))


def test_kill_9_of_the_service_leaves_nothing(tmp_path: Path) -> None:
    """The whole tree, a deaf child included, is gone with its parent; no file, socket or memory remains."""
    parent = multiprocessing.get_context("spawn").Process(target=be_a_service, args=(str(tmp_path),))
    parent.start()
    wait_until((tmp_path / "pids").exists, patience=30)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    address = InferenceAddress((tmp_path / "address").read_bytes())
    assert all(is_alive(pid) for pid in pids)
    assert sockets_named(address)
    named = named_memory(pids)
    os.kill(pids[0], signal.SIGKILL)
    parent.join(15)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    wait_until(lambda: not sockets_named(address))
    assert not [path for path in named if path.exists()]
    parent.close()


def test_nothing_is_left_in_the_process_that_serves_streams() -> None:
    """Starting and stopping inference and its clients costs no descriptor, thread or mapping."""

    def cycle() -> None:
        with InferenceListener() as listener, Supervisor() as supervisor:
            supervisor.start(inference_spec(listener))
            with connect(listener.address) as classifier:
                classifier.classify(inputs_of(1))

    cycle()
    before, threads = held_by(os.getpid()), threading.active_count()
    cycle()
    assert holds_no_more(os.getpid(), before)
    assert threading.active_count() <= threads


@contextmanager
def stepping(load: Callable[[], BrightnessClassifier] = BrightnessClassifier) -> Iterator[InferenceAddress]:
    """A server in a thread of this process, which waits long for who is idle."""
    stop = threading.Event()
    batching = BatchSettings(max_wait=0.05)
    with (
        InferenceListener() as listener,
        InferenceServer(listener.socket, load(), InferenceSettings(batching=batching)) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        running = threads.submit(lambda: [server.step(0.02) for _ in iter(stop.is_set, True)])
        try:
            yield listener.address
        finally:
            stop.set()
            running.result(PATIENCE)


def test_a_clock_ahead_makes_nobody_wait() -> None:
    """A client whose clock, or whose lie, is of the future is served in its turn, beside an idle one too."""
    with stepping() as address, connect(address), socket.socket(*SOCKET) as ahead:
        ahead.settimeout(PATIENCE)
        ahead.connect(address.name)
        for message in (Hello(Purpose.LIVE, 1).pack(), Request(7, 1, 1, 1e12).pack()):
            ahead.send(message)
            answer = ahead.recv(65536)
        assert Answer.unpack(answer).number == 7


def test_strangers_take_only_so_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing are closed beyond a limit; those within it may still speak."""
    monkeypatch.setattr(server, "MAX_STRANGERS", 2)
    with stepping() as address, ExitStack() as stack:
        strangers = [stack.enter_context(socket.socket(*SOCKET)) for _ in range(3)]
        for one in strangers:
            one.settimeout(PATIENCE)
            one.connect(address.name)
        assert strangers[2].recv(65536) == b""
        strangers[0].send(Hello(Purpose.LIVE, 1).pack())
        assert strangers[0].recv(65536)


def test_an_answer_to_another_request_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes too late, or twice, costs a second attempt and puts no wrong label on a frame."""
    right, wrong = InferenceServer._answer, iter([True])

    def answer(self: InferenceServer, client: Any) -> Answer:
        given = right(self, client)
        return replace(given, number=given.number - 1) if next(wrong, False) else given

    monkeypatch.setattr(InferenceServer, "_answer", answer)
    with stepping() as address, connect(address) as classifier:
        assert brightness(classifier, 5, 6) == [5, 6]
        assert read_statistics(address).retried_inputs == 2


class Together(SideBySide):
    """Whose lanes wait for each other."""

    barrier = threading.Barrier(2)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.barrier.wait(PATIENCE)
        return super().classify(inputs)


def test_capacity_counts_what_runs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes that are busy at once do two inputs in that time, not one."""
    sizes: list[int] = []
    monkeypatch.setattr(CapacityEstimate, "note", lambda self, size, *_: sizes.append(size))
    with stepping(Together) as address, connect(address) as classifier:
        assert brightness(classifier, 5, 6) == [5, 6]
    assert sizes == [2, 2]
