"""Does anything grow? python -m tests.soak [--cycles 300] [--minutes 60]

First streams are added and removed again and again; then a living and a dead one stand side by side for the
given time. A table shows memory, descriptors, threads, processes and shared memory of the service.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

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


def table(title: str, steps: int, step: object) -> None:
    """Do ``steps`` steps and print what the service holds along the way."""
    assert callable(step)
    print(f"\n{title}\n{'step':>6} {'MB':>8} {'files':>6} {'threads':>8} {'processes':>10} {'shm':>4}")
    rows = []
    for number in range(steps):
        step(number)
        if number % max(1, steps // ROWS) == 0 or number == steps - 1:
            rows.append(held())
            print(f"{number:>6} {rows[-1][0]:>8.1f} " + "{:>6} {:>8} {:>10} {:>4}".format(*rows[-1][1:]))
            sys.stdout.flush()
    half, quarter = rows[len(rows) // 4 : len(rows) // 2], rows[-max(1, len(rows) // 4) :]
    for place, name in enumerate(("MB", "files", "threads", "processes", "shm")):
        before, after = (sum(row[place] for row in part) / len(part) for part in (half, quarter))
        print(f"{name}: {before:.1f} in the second quarter, {after:.1f} in the last")


def held() -> tuple[float, int, int, int, int]:
    """Megabytes of this process and its children, descriptors, threads, processes, files in /dev/shm."""
    pids = [os.getpid(), *children_of(os.getpid())]
    pages = files = threads = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
        except OSError:  # it has just ended
            continue
    return (
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        files,
        threads,
        len(pids),
        len(list(Path("/dev/shm").iterdir())),
    )


if __name__ == "__main__":
    main()
