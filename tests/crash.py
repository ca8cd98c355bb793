"""Does a subscriber get exactly the log when the service is killed again and again?

    python -m tests.crash [--kills 50] [--seed 1]

The whole service is killed (SIGKILL) at random moments while the events of two streams flow to a subscriber,
who comes back each time with the position of the last message it has.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.service.api.conftest import make_clip, until
from tests.service.live import OPTIONS, check_lives
from tests.service.program import free_port, program

SCENES = ["red"] * 6 + ["blue"] * 6
STREAMS = ("one", "two")


class Subscriber:
    """Follows all events over every restart of the service; ``stop`` waits until it has gone."""

    def __init__(self, url: str) -> None:
        self.messages: list[dict[str, Any]] = []
        self.connections = 0
        self.gaps = 0
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def position(self) -> int:
        return self.messages[-1]["position"] if self.messages else 0

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (OSError, WebSocketException):
                self._stopping.wait(0.05)

    def _follow(self) -> None:
        with connect(f"{self._url}/events?after={self.position}", open_timeout=30) as socket:
            self.connections += 1
            while not self._stopping.is_set():
                try:
                    message = json.loads(socket.recv(timeout=0.2))
                except TimeoutError:
                    continue
                if message["type"] == "event":
                    self.messages.append(message)
                self.gaps += message["type"] == "gap"


@dataclass(frozen=True)
class Outcome:
    """What the subscriber has, and positions and streams' numbers as the log has them."""

    heard: list[dict[str, Any]]
    logged: list[tuple[int, str, int]]
    connections: int
    gaps: int

    def check(self) -> None:
        """Raises AssertionError where one differs from the other, or has a hole."""
        assert [(m["position"], m["event"]["stream"], m["seq"]) for m in self.heard] == self.logged
        assert [position for position, _, _ in self.logged] == list(range(1, len(self.logged) + 1))
        for stream in STREAMS:
            numbers = [seq for _, name, seq in self.logged if name == stream]
            assert numbers == list(range(1, len(numbers) + 1))
        assert self.gaps == 0
        check_lives(self.heard)


def crash(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill a service ``kills`` times, at moments that follow from ``seed`` and from what it has told."""
    chance = random.Random(seed)
    film = make_clip(folder / "film.avi", SCENES * 100)
    port = free_port()
    streams = {name: {"source": str(film), **OPTIONS} for name in STREAMS}
    subscriber = Subscriber(f"ws://127.0.0.1:{port}")
    try:
        for number in range(kills):
            with program(folder, model="quick", port=port, streams=streams) as service:
                known = len(subscriber.messages)
                if wanted := chance.randrange(4):
                    until(lambda: len(subscriber.messages) >= known + wanted, 120)  # noqa: B023
                time.sleep(chance.random())
                service.process.kill()
            print(f"killed {number + 1} times, {len(subscriber.messages)} messages", flush=True)
        with program(folder, model="quick", port=port) as service:
            until(service.ready, 120)
            logged = read_log(folder / "data")
            until(lambda: subscriber.position >= logged[-1][0], 60)
    finally:
        subscriber.stop()
    return Outcome(subscriber.messages, logged, subscriber.connections, subscriber.gaps)


def read_log(data: Path) -> list[tuple[int, str, int]]:
    """Position, stream and number of all messages, past the service and its code."""
    database = sqlite3.connect(data / "video-events.db")
    try:
        return database.execute("SELECT position, stream, seq FROM messages ORDER BY position").fetchall()
    finally:
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = crash(Path(folder), options.kills, options.seed)
    outcome.check()
    print(
        f"{options.kills} kills, {outcome.connections} connections: the subscriber has the "
        f"{len(outcome.heard)} messages of the log, each once"
    )


if __name__ == "__main__":
    main()
