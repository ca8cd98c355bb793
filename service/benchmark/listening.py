"""Subscribers to labels and viewers of pictures, in a process of their own so that they hear at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

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


@dataclass(frozen=True, slots=True)
class Attention:
    """What an audience got: labels, and the number of pictures of each viewer."""

    heard: list[Heard] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)


class Audience:
    """A process that listens; a context manager."""

    def __enter__(self) -> Audience:
        self._pool = ProcessPoolExecutor(1, mp_context=_spawn, initializer=_leave_signals)
        self._pool.submit(_warm_up).result()
        return self

    def __exit__(self, *exc: object) -> None:
        for process in list(self._pool._processes.values()):
            process.kill()  # it may be in the middle of listening
        self._pool.shutdown(wait=True, cancel_futures=True)

    def listen(
        self, url: str, streams: tuple[str, ...], seconds: float, *, subscribers: int = 1, viewers: int = 0
    ) -> Attention:
        """What so many subscribers to each stream hear in ``seconds``, while viewers watch its pictures."""
        return self._pool.submit(_listen, url, streams, seconds, subscribers, viewers).result()


def _leave_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _warm_up() -> None:
    """Nothing; the process is there afterwards and has imported all it needs."""


def _listen(url: str, streams: tuple[str, ...], seconds: float, subscribers: int, viewers: int) -> Attention:
    attention = Attention()

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        jobs = [
            _subscribe(url, stream, number, until, attention.heard)
            for stream in streams
            for number in range(subscribers)
        ]
        jobs += [_watch(url, stream, until, attention.pictures) for stream in streams for _ in range(viewers)]
        await asyncio.gather(*jobs)

    asyncio.run(all_of_them())
    return attention


async def _subscribe(url: str, stream: str, number: int, until: float, heard: list[Heard]) -> None:
    address = url.replace("http", "ws", 1) + f"/streams/{stream}/labels?mode=lossless"
    with contextlib.suppress(OSError, TimeoutError, WebSocketException):
        async with connect(address, open_timeout=30, ping_interval=None) as socket:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                async for text in socket:
                    if (message := _label(text)) is not None:
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


async def _watch(url: str, stream: str, until: float, pictures: list[int]) -> None:
    """Take in the live view's bytes as they come; add the number of its pictures to ``pictures``."""
    address, count = urlsplit(url), 0
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                request = f"GET /streams/{stream}/live.mjpeg HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n"
                writer.write(request.encode())
                rest = b""
                while part := await reader.read(1 << 16):
                    count += (rest + part).count(PICTURE)
                    rest = (rest + part)[1 - len(PICTURE) :]
            finally:
                writer.close()
    pictures.append(count)
