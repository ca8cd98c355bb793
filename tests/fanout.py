"""How soon do many subscribers hear? python -m tests.fanout [--subscribers 200] [--viewers 10] [--seconds 20]

One stream of 25 frames per second; subscribers to its labels and viewers of its pictures are processes of
their own. Prints how long a label was on its way, from the service's clock to the subscriber's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import httpx
from websockets.asyncio.client import connect

from service.sinks.avi import AviWriter
from tests.service.api.conftest import serving, until
from tests.service.fakes import scene
from tests.service.live import ColourModel
from tests.soak import held


def main() -> None:
    """Follow a stream with many clients and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.avi"
        with film.open("wb") as file:
            writer = AviWriter(file, 640, 360, Fraction(25))
            jpeg = cv2.imencode(".jpg", scene("red", 640, 360))[1].tobytes()
            for _ in range(int((options.seconds + 60) * 25)):
                writer.write(jpeg)
            writer.close()
        settings: dict[str, Any] = {"max_subscribers": options.subscribers, "max_viewers": options.viewers}
        with serving(Path(folder) / "data", ColourModel(), streams={"film": str(film)}, **settings) as served:
            until(lambda: served.client.get("/streams/film").json()["label"])
            before = held()[0]
            spawn = multiprocessing.get_context("spawn")
            with spawn.Pool(1 + options.viewers) as pool:
                jobs = [
                    pool.apply_async(watch, (served.url, options.seconds)) for _ in range(options.viewers)
                ]
                heard = pool.apply(listen, (served.url, options.subscribers, options.seconds))
                pictures = [job.get() for job in jobs]
            delays = sorted(delay for one in heard for delay in one)
            print(
                f"{len(heard)} subscribers heard {min(map(len, heard))} to {max(map(len, heard))} labels each"
            )
            for share in (0.5, 0.95, 0.99, 1.0):
                print(f"delay p{share * 100:g}: {1000 * delays[int(share * (len(delays) - 1))]:.0f} ms")
            print(f"{options.viewers} viewers saw {statistics.mean(pictures or [0]):.0f} pictures each")
            print(f"memory of the service: {before:.0f} MB before, {held()[0]:.0f} MB after")


def listen(url: str, subscribers: int, seconds: float) -> list[list[float]]:
    """Delays in seconds, as each subscriber saw them."""

    async def one(delays: list[float]) -> None:
        address = url.replace("http", "ws") + "/streams/film/labels?mode=lossless"
        async with connect(address, open_timeout=60, ping_interval=None) as socket:
            async with asyncio.timeout(seconds):
                async for text in socket:
                    now, message = time.time(), json.loads(text)
                    if message["type"] == "label":
                        delays.append(now - moment(message["emitted_at"]))

    async def all_of_them() -> list[list[float]]:
        heard: list[list[float]] = [[] for _ in range(subscribers)]
        await asyncio.gather(*(one(delays) for delays in heard), return_exceptions=True)
        return heard

    return asyncio.run(all_of_them())


def moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def watch(url: str, seconds: float) -> int:
    """Number of pictures that a viewer gets."""
    until_then, seen = time.monotonic() + seconds, 0
    with httpx.stream("GET", f"{url}/streams/film/live.mjpeg", timeout=60) as answer:
        for part in answer.iter_bytes():
            seen += part.count(b"--frame\r\n")
            if time.monotonic() > until_then:
                break
    return seen


if __name__ == "__main__":
    main()
