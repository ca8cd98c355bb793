"""A second inference process stands by: what dies or hangs is replaced at once, and no answer is wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from service.inference.client import read_statistics
from service.inference.queueing import BatchSettings, Priority
from service.inference.shared import PROCESS, STANDBY, SharedInference
from service.inference.turn import Turn
from service.supervisor import ChildSpec, ChildState, Supervisor
from tests.service.api.conftest import make_clip, serving, until
from tests.service.children import BrightnessClassifier, connect, inputs_of, serve_soon, wait_until
from tests.service.live import ColourModel, Follower

CLIENTS = 4


@dataclass(frozen=True)
class BrightModel:
    """Loads in no time; a batch takes ``seconds``."""

    seconds: float = 0.02
    name: str = "bright 1"
    labels: tuple[str, ...] = ("dark", "bright", "pid")
    views: int = 1

    def model_input(self, image: Any, view: int = 0) -> Any:
        return BrightnessClassifier().model_input(image)

    def open(self, batch_size: int) -> BrightnessClassifier:
        return BrightnessClassifier(self.seconds)


class Clients:
    """Threads that classify without a pause, and note every wrong answer."""

    def __init__(self, shared: SharedInference) -> None:
        self.wrong: list[object] = []
        self._answers = [0] * CLIENTS
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(shared, number)) for number in range(CLIENTS)
        ]

    def answers(self) -> int:
        """Of the client that has the fewest."""
        return min(self._answers)

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, shared: SharedInference, number: int) -> None:
        priority = Priority.UPLOAD if number == 0 else Priority.LIVE
        try:
            with connect(shared.address, priority=priority) as classifier:
                level = 0
                while not self._stopping.is_set():
                    level = (level + 40 * number + 1) % 256
                    rows = classifier.classify(inputs_of(level, 255 - level))
                    if [round(float(row[1]) * 255) for row in rows] != [level, 255 - level]:
                        self.wrong.append((number, level, rows))
                    self._answers[number] += 1
        except BaseException as error:
            self.wrong.append(error)
            raise


@contextmanager
def inference(delay: float = 0.1) -> Iterator[tuple[SharedInference, Supervisor]]:
    with Supervisor() as supervisor:
        shared = SharedInference(
            supervisor, BrightModel(), BatchSettings(), standby=True, standby_delay=delay
        )
        with shared:
            yield shared, supervisor


def test_a_killed_process_is_replaced_at_once_again_and_again() -> None:
    """Several clients, killed under load: the standby answers, rightly; another standby is made each time."""
    with inference() as (shared, supervisor), Clients(shared) as clients:
        for kills in range(1, 4):
            wait_until(lambda: shared.has_standby, 60)
            active = read_statistics(shared.address, 15).pid
            done = clients.answers()
            os.kill(active, signal.SIGKILL)
            wait_until(lambda done=done: clients.answers() > done + 5)
            assert read_statistics(shared.address, 15).pid != active
            wait_until(lambda kills=kills: shared.restarts == kills)
        wait_until(lambda: shared.has_standby, 60)
        assert not clients.wrong
        assert read_statistics(shared.address, 15).retried_inputs >= 1
        names = {name: supervisor.status(name) for name in (PROCESS, STANDBY)}
    assert not clients.wrong
    assert {status.failures for status in names.values() if status} == {1, 2}


def test_a_hanging_process_is_replaced_soon() -> None:
    """Silence for ten batch times, two seconds at least, is enough where another one is ready."""
    with inference() as (shared, _), Clients(shared) as clients:
        wait_until(lambda: shared.has_standby and clients.answers() > 5, 60)
        active = read_statistics(shared.address, 15).pid
        done = clients.answers()
        os.kill(active, signal.SIGSTOP)
        wait_until(lambda: clients.answers() > done + 5, 25)  # 30 s without a standby
        assert read_statistics(shared.address, 15).pid != active
        assert not clients.wrong


def test_the_standby_waits_until_the_other_serves() -> None:
    """It competes for nothing at the start; and what was killed before it had loaded costs no turn."""
    with inference(delay=2.0) as (shared, supervisor):  # longer than this process may be held up
        wait_until(lambda: shared.is_ready, 60)
        first = supervisor.status(PROCESS)
        assert first
        assert first.state is ChildState.RUNNING
        standby = supervisor.status(STANDBY)
        assert standby
        assert standby.state is not ChildState.RUNNING
        assert read_statistics(shared.address, 15).pid == first.pid
        assert first.pid
        os.kill(first.pid, signal.SIGKILL)
        with connect(shared.address) as classifier:
            assert round(float(classifier.classify(inputs_of(9))[0][1]) * 255) == 9


def test_a_turn_is_passed_on_by_the_death_of_its_holder(tmp_path: Path) -> None:
    """The kernel alone does it: one holder at a time, the next as soon as that is gone."""
    file = tmp_path / "holders"
    file.touch()

    def holders() -> list[int]:
        return [int(line) for line in file.read_text().splitlines()]

    with Turn() as turn, Supervisor() as supervisor:
        for name in ("a", "b"):
            supervisor.start(ChildSpec(name, serve_soon, (turn, str(file))))
        for name in ("a", "b"):
            wait_until(partial(_is_running, supervisor, name))
        wait_until(holders)
        time.sleep(0.5)
        (first,) = holders()
        assert turn.is_taken
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(holders()) == 2)
        assert holders()[1] != first
        assert turn.is_taken
        supervisor.close()
        wait_until(lambda: not turn.is_taken)


def _is_running(supervisor: Supervisor, name: str) -> bool:
    status = supervisor.status(name)
    return status is not None and status.state is ChildState.RUNNING


def test_labels_go_on_when_the_network_is_killed(tmp_path: Path) -> None:
    """The whole service: a stream stays live, its labels go on, and the figures tell what has happened."""
    film = make_clip(tmp_path / "film.avi", ["red", "blue"] * 600)
    with serving(tmp_path / "data", ColourModel(), streams={"film": str(film)}, standby=True) as served:
        inference = served.services.inference
        until(lambda: inference.has_standby, 60)
        with Follower(served, "/streams/film/labels?mode=lossless") as labels:
            labels.wait(lambda message: message["type"] == "label")
            active = read_statistics(inference.address, 15).pid
            known = len(labels.messages("label"))
            os.kill(active, signal.SIGKILL)
            until(lambda: len(labels.messages("label")) > known + 20)
            assert set(labels.states()) == {"live"}
            assert read_statistics(inference.address, 15).pid != active
        assert served.client.get("/readyz").status_code == 200
        assert "video_events_inference_restarts_total 1.0" in served.client.get("/metrics").text
        shown = served.client.get("/streams/film").json()
        assert (shown["state"], shown["restarts"]) == ("live", 0)
        until(lambda: inference.has_standby, 60)
