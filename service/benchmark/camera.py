"""A camera for the benchmark: pictures over HTTP (multipart MJPEG), in a process of its own.

Every picture is encoded once, before the first client comes; so it costs next to nothing beside what is
measured, however many look.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np

from service.benchmark.clip import read_frames
from service.errors import BenchmarkError
from service.sinks.mjpg_file import encode_jpeg

SIZE: Final = (640, 360)
FPS: Final = 25.0
HELD: Final = 250
SLOW_BYTES: Final = 1 << 20
"""A client with more than this unread misses pictures, as with a real camera."""

_spawn = multiprocessing.get_context("spawn")


class Camera:
    """Shows the start of ``clip`` in a loop, 640×360 at 25 frames a second; a context manager."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip

    def __enter__(self) -> Self:
        jpegs = [
            encode_jpeg(np.asarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA), np.uint8), 80)
            for image in read_frames(self._clip, HELD)
        ]
        ours, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_main, args=(jpegs, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        try:
            self.address = f"http://127.0.0.1:{ours.recv()}/live.mjpeg"
        except EOFError as error:
            raise BenchmarkError("the process of the camera has ended") from error
        return self

    def __exit__(self, *exc: object) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _main(jpegs: Sequence[bytes], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        asyncio.run(_serve(jpegs, pipe))


async def _serve(jpegs: Sequence[bytes], pipe: Connection) -> None:
    clients = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal clients
        clients += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            )
            await _show(jpegs, writer, clients * 37)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    async with server:
        await asyncio.to_thread(_until_closed, pipe)


async def _show(jpegs: Sequence[bytes], writer: asyncio.StreamWriter, first: int) -> None:
    began = time.monotonic()
    number = 0
    while not writer.is_closing():
        jpeg = jpegs[(first + number) % len(jpegs)]
        if writer.transport.get_write_buffer_size() < SLOW_BYTES:
            writer.write(
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)
            )
        number += 1
        await asyncio.sleep(max(0.0, began + number / FPS - time.monotonic()))


def _until_closed(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
