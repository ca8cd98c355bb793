"""What end-to-end tests of live streams need: a model, and clients that are not our code."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service.types import Classifier, Image
from tests.service.api.conftest import Served, children_of, until
from tests.service.fakes import COLOURS, ColourClassifier

OPTIONS = {"window": 4, "min_duration": 0.3, "merge_gap": 0.5, "blind_after": 0.5, "frozen_after": 1.5}
"""Of streams in these tests: an event is known half a second after its start."""


TIMED = pytest.mark.flaky(reruns=2, only_rerun=r"\bwithin\(|\bmonotonic\b")
"""Of tests that measure time: what else a machine does only makes it longer, so the best of three counts.

Whatever else is wrong in such a test, an event lost or a state missed, fails it at once.
"""


def within(seconds: float) -> float:
    """``seconds`` on a machine that has nothing else to do; more on one that has."""
    return seconds * (1 + os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass(frozen=True)
class ColourModel:
    """The label of a picture is its colour. ``note`` is told the number of the process that classifies."""

    note: Path | None = None

    @property
    def name(self) -> str:
        return "colours 1"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(COLOURS)

    views = 1

    def model_input(self, image: Image, view: int = 0) -> Image:
        return ColourClassifier().model_input(image)

    def open(self, batch_size: int) -> Classifier:
        if self.note:
            self.note.write_text(str(os.getpid()))
        return ColourClassifier()


class HasAddress(Protocol):
    """A running service, in this process or another."""

    @property
    def url(self) -> str: ...


class Follower:
    """Follows a WebSocket from a thread, and notes when each message came; a context manager."""

    def __init__(self, served: HasAddress, path: str, *, reading: bool = True) -> None:
        """Unless ``reading``, it takes next to nothing from the connection before ``go_on``."""
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.closed: ConnectionClosed | None = None
        self._url = urlsplit(served.url)
        self._path = path
        self._reading = threading.Event()
        self._open = ExitStack()
        if reading:
            self.go_on()

    def __enter__(self) -> Self:
        connection = socket.socket()
        if not self._reading.is_set():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((self._url.hostname, self._url.port))
        address = f"ws://{self._url.netloc}{self._path}"
        room, ping = (16, 20) if self._reading.is_set() else (1, None)
        self._socket = self._open.enter_context(
            connect(address, sock=connection, max_queue=room, ping_interval=ping)
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.go_on()
        self._open.close()
        self._thread.join(10)

    def go_on(self) -> None:
        self._reading.set()

    def _follow(self) -> None:
        self._reading.wait()
        try:
            while True:
                message = json.loads(self._socket.recv())
                self.heard.append((time.monotonic(), message))
        except ConnectionClosed as closed:
            self.closed = closed

    def messages(self, kind: str) -> list[dict[str, Any]]:
        return [message for _, message in list(self.heard) if message["type"] == kind]

    def states(self) -> list[str]:
        """The states that the stream was in, one after the other."""
        states = [message["stream"]["state"] for message in self.messages("snapshot")]
        return states + [_state(message) for message in self.messages("state")]

    def wait(self, condition: Callable[[dict[str, Any]], Any], seconds: float = 30.0) -> dict[str, Any]:
        """The first message that is as wanted."""
        found = until(lambda: [message for _, message in list(self.heard) if condition(message)], seconds)
        first: dict[str, Any] = found[0]
        return first

    def longest_pause(self, since: float) -> float:
        """Longest time between two labels after the moment ``since``, up to now; in seconds."""
        came = [at for at, message in list(self.heard) if message["type"] == "label"]
        moments = [since, *(at for at in came if at >= since), time.monotonic()]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))


def _state(message: dict[str, Any]) -> str:
    return str(message["stream"]["state"] if "stream" in message else message["state"])


class Viewer:
    """Reads multipart MJPEG from a raw connection, part by part; a context manager."""

    def __init__(self, served: Served, path: str, buffer: int | None = None) -> None:
        """``buffer`` is the room, in bytes, that the kernel keeps for what was not read yet."""
        address = urlsplit(served.url)
        self._socket = socket.socket()
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(30)
        self._socket.connect((address.hostname, address.port))
        self._socket.sendall(f"GET {path} HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        headers = self._headers()
        found = re.fullmatch(r"multipart/x-mixed-replace; *boundary=\"?([^\"]+)\"?", headers["content-type"])
        assert found, headers
        self._boundary = b"--" + found[1].encode()

    def read(self) -> Image:
        """The next picture."""
        while (line := self._file.readline()).strip() != self._boundary:
            assert line.strip() == b"", line
            assert line, "the stream of pictures has ended"
        headers = self._headers()
        assert headers["content-type"] == "image/jpeg"
        return decoded(self._file.read(int(headers["content-length"])))

    def _headers(self) -> dict[str, str]:
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._socket.close()


def decoded(jpeg: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def add(served: Served, name: str, source: str, **options: Any) -> dict[str, Any]:
    body = {"name": name, "source": source, "options": OPTIONS | options}
    answer = served.client.post("/streams", json=body)
    assert answer.status_code == 201, answer.text
    stream: dict[str, Any] = answer.json()
    return stream


def stream(served: Served, name: str) -> dict[str, Any]:
    answer = served.client.get(f"/streams/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def wait_for_state(served: Served, name: str, *states: str, seconds: float = 60.0) -> dict[str, Any]:
    """The stream as it is once it is in one of the states; told what it was in instead, if it never is."""
    seen: list[str] = []

    def reached() -> dict[str, Any] | None:
        found = stream(served, name)
        if not seen or seen[-1] != found["state"]:
            seen.append(found["state"])
        return found if found["state"] in states else None

    try:
        reached_at: dict[str, Any] = until(reached, seconds)
    except AssertionError:
        raise AssertionError(f"{name} was {' → '.join(seen)} and not {' or '.join(states)}") from None
    return reached_at


def remove(served: Served, name: str) -> httpx.Response:
    return served.client.delete(f"/streams/{name}")


@contextlib.contextmanager
def added(served: Served, name: str, source: str, **options: Any) -> Iterator[dict[str, Any]]:
    """A stream that is removed in the end, which takes two seconds at most in whatever state it is."""
    shown = add(served, name, source, **options)
    try:
        yield shown
    finally:
        began = time.monotonic()
        removed = remove(served, name)
        took = time.monotonic() - began
    assert removed.status_code == 204, removed.text
    assert took < within(2)


def events_of(served: Served, name: str) -> list[dict[str, Any]]:
    """All messages on the events of a stream, oldest first."""
    answer = served.client.get(f"/streams/{name}/events", params={"limit": 1000})
    assert answer.status_code == 200, answer.text
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


def ended_events(served: Served, name: str) -> list[dict[str, Any]]:
    return [message["event"] for message in events_of(served, name) if message["phase"] == "ended"]


def check_lives(messages: list[dict[str, Any]]) -> None:
    """Nothing lost, nothing doubled: positions rise, and every event starts once and ends once at most."""
    positions = [message["position"] for message in messages]
    assert positions == sorted(set(positions))
    lives: dict[str, list[str]] = {}
    for message in messages:
        lives.setdefault(message["event"]["id"], []).append(message["phase"])
    for phases in lives.values():
        assert phases[0] == "started", lives
        assert set(phases[1:-1]) <= {"updated"}, lives
        assert phases[-1] in ("started", "updated", "ended"), lives


def workers() -> set[int]:
    """The processes that this one has started to work for it."""
    found = set()
    for pid in children_of(os.getpid()):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def process_connected_to(port: int) -> int:
    """The child of this process that has a connection to a local port."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == port and fields[9] != "0":
            inodes.add(f"socket:[{fields[9]}]")
    found = [pid for pid in children_of(os.getpid()) if inodes & held_by(pid)]
    assert len(found) == 1, found
    return found[0]


def held_by(pid: int) -> set[str]:
    """What the descriptors of a process refer to."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed, or ended, meanwhile
            held.add(os.readlink(path))
    return held
