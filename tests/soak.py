"""Does anything grow? python -m tests.soak [--cycles 300] [--minutes 60]

First streams are added and removed again and again; then a living and a dead one stand side by side for the
given time. A table shows memory, descriptors, threads, processes and shared memory of the service.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from service.api.settings import ServeSettings
from tests.service.api.conftest import Served, children_of, make_clip, serving, until
from tests.service.live import ColourModel

ROWS = 12
DEAD = "rtsp://127.0.0.1:9/main"


def main() -> None:
    """Print a row now and then, and how far the last quarter lies above the second."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = make_clip(Path(folder) / "film.avi", ["red", "blue"] * 100)
        settings = {"allowed_sources": ("127.0.0.0/8",), "streams": {"own": str(film)}}
        assert set(settings) <= set(ServeSettings.model_fields)
        with serving(Path(folder) / "data", ColourModel(), **settings) as served:
            until(lambda: served.client.get("/readyz").status_code == 200)
            table("add and remove", options.cycles, lambda number: cycle(served, number))
            served.client.post("/streams", json={"name": "dead", "source": DEAD})
            table("one living, one dead", ROWS, lambda _: time.sleep(options.minutes * 60 / ROWS))


def cycle(served: Served, number: int) -> None:
    answer = served.client.post("/streams", json={"name": f"s{number}", "source": DEAD})
    assert answer.status_code == 201, answer.text
    if number % 3:
        time.sleep(0.3)
    assert served.client.delete(f"/streams/s{number}").status_code == 204


class Held(NamedTuple):
    """Of this process and its children; ``shm`` counts the files in /dev/shm."""

    megabytes: float
    files: int
    threads: int
    processes: int
    shm: int


def table(title: str, steps: int, step: Callable[[int], object]) -> None:
    """Do ``steps`` steps and print what the service holds along the way."""
    print(f"\n{title}\n{'step':>6}" + "".join(f"{name:>11}" for name in Held._fields))
    rows = []
    for number in range(steps):
        step(number)
        if number % max(1, steps // ROWS) == 0 or number == steps - 1:
            rows.append(held())
            print(f"{number:>6}" + "".join(f"{round(value, 1):>11}" for value in rows[-1]), flush=True)
    quarter = max(1, len(rows) // 4)
    parts = rows[quarter : 2 * quarter] or rows, rows[-quarter:]
    for name in Held._fields:
        before, after = (fmean(getattr(row, name) for row in part) for part in parts)
        print(f"{name}: {before:.1f} in the second quarter, {after:.1f} in the last")


def held() -> Held:
    pids = [os.getpid(), *children_of(os.getpid())]
    pages = files = threads = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
        except OSError:  # it has just ended
            continue
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Held(megabytes, files, threads, len(pids), len(list(Path("/dev/shm").iterdir())))


if __name__ == "__main__":
    main()
