"""Subscribers to labels and viewers of pictures, in a process of their own so that they hear at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from service.child import leave_with_parent
from service.errors import BenchmarkError

SETTLE_SECONDS: Final = 2.0
PICTURE: Final = b"\r\nContent-Type: image/jpeg\r\n"
"""Begins every picture of a live view."""

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Heard:
    """A label as one subscriber heard it.

    ``at`` is Unix seconds; ``latency`` seconds since the frame was captured, ``delay`` since the service
    sent the label, ``age`` what the service says of the frame when it was labelled. ``skipped`` frames came
    between it and the label before.
    """

    stream: str
    subscriber: int
    at: float
    latency: float
    delay: float
    age: float
    skipped: int


class Window:
    """The time that counts: ``seconds`` after all have had ``SETTLE_SECONDS`` to connect and settle."""

    def __init__(self, seconds: float) -> None:
        self._begins = time.monotonic() + SETTLE_SECONDS
        self._ends = self._begins + seconds

    @property
    def is_open(self) -> bool:
        return time.monotonic() >= self._begins

    @property
    def left(self) -> float:
        """Seconds until its end."""
        return self._ends - time.monotonic()


@dataclass(frozen=True, slots=True)
class Attention:
    """What an audience got: labels, and the number of pictures of each viewer."""

    heard: list[Heard] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)


class Audience:
    """A process that listens; a context manager."""

    _attention: Future[Attention]

    def __enter__(self) -> Audience:
        self._pool = ProcessPoolExecutor(1, mp_context=_spawn, initializer=_begin)
        with _alive():
            self._pool.submit(_warm_up).result()
        return self

    def __exit__(self, *exc: object) -> None:
        for process in list((self._pool._processes or {}).values()):
            process.kill()  # it may be in the middle of listening
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(
        self, url: str, streams: tuple[str, ...], seconds: float, *, subscribers: int, viewers: int
    ) -> None:
        """Have so many subscribers to each stream listen, while viewers watch its pictures.

        Returns after ``SETTLE_SECONDS``; what they get in the ``seconds`` from then on ``end`` tells. Raises
        ``BenchmarkError`` where their process has ended.
        """
        with _alive():
            self._attention = self._pool.submit(_listen, url, streams, seconds, subscribers, viewers)
        time.sleep(SETTLE_SECONDS)

    def end(self) -> Attention:
        """Wait until the time is up. Raises ``BenchmarkError`` where their process has ended."""
        with _alive():
            return self._attention.result()


@contextlib.contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise BenchmarkError("the process of the subscribers and viewers has ended") from error


def _begin() -> None:
    leave_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _warm_up() -> None:
    """Nothing; the process is there afterwards and has imported all it needs."""


def _listen(url: str, streams: tuple[str, ...], seconds: float, subscribers: int, viewers: int) -> Attention:
    attention = Attention()

    async def all_of_them() -> None:
        window = Window(seconds)
        jobs = [
            _subscribe(url, stream, number, window, attention.heard)
            for stream in streams
            for number in range(subscribers)
        ]
        jobs += [
            _watch(url, stream, window, attention.pictures) for stream in streams for _ in range(viewers)
        ]
        await asyncio.gather(*jobs)

    asyncio.run(all_of_them())
    return attention


async def _subscribe(url: str, stream: str, number: int, window: Window, heard: list[Heard]) -> None:
    address = url.replace("http", "ws", 1) + f"/streams/{stream}/labels?mode=lossless"
    with contextlib.suppress(OSError, TimeoutError, WebSocketException):
        async with connect(address, open_timeout=30, ping_interval=None) as socket:
            async with asyncio.timeout(window.left):
                async for text in socket:
                    if window.is_open and (message := _label(text)) is not None:
                        heard.append(_heard(stream, number, message))


def _label(text: str | bytes) -> dict[str, Any] | None:
    message: dict[str, Any] = json.loads(text)
    return message if message["type"] == "label" else None


def _heard(stream: str, number: int, message: dict[str, Any]) -> Heard:
    now = time.time()
    return Heard(
        stream=stream,
        subscriber=number,
        at=now,
        latency=now - datetime.fromisoformat(message["captured_at"]).timestamp(),
        delay=now - datetime.fromisoformat(message["emitted_at"]).timestamp(),
        age=message["frame_age"],
        skipped=message["dropped"],
    )


async def _watch(url: str, stream: str, window: Window, pictures: list[int]) -> None:
    """Take in the live view's bytes as they come; add the number of its pictures to ``pictures``."""
    address, count = urlsplit(url), 0
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(window.left):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                request = f"GET /streams/{stream}/live.mjpeg HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n"
                writer.write(request.encode())
                rest = b""
                while part := await reader.read(1 << 16):
                    count += (rest + part).count(PICTURE) if window.is_open else 0
                    rest = (rest + part)[1 - len(PICTURE) :]
            finally:
                writer.close()
    pictures.append(count)
