"""How long do answers pause when the inference process fails? python -m tests.takeover [--kills 10] [--hang]

Clients classify without a pause while the process that serves them is killed (or stopped) again and again,
each time when its standby is ready; or without a standby, with --no-standby. A line for each time, then the
median and the worst, and what the processes hold in memory. --model sports takes the real network instead
of one that only waits 20 ms.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import threading
import time
from pathlib import Path

import numpy as np

from service.engines import Engine
from service.engines.stored import StoredModel
from service.inference.client import RemoteClassifier, read_statistics
from service.inference.queueing import BatchSettings
from service.inference.shared import PROCESS, STANDBY, SharedInference
from service.supervisor import Supervisor
from service.types import ServedModel
from tests.service.api.conftest import until
from tests.service.test_standby import BrightModel


def main() -> None:
    """Print a line for each failure, then the figures of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--hang", action="store_true", help="stop the process instead of killing it")
    parser.add_argument("--no-standby", dest="standby", action="store_false")
    parser.add_argument("--model", help="a stored model instead of one that only waits")
    parser.add_argument("--engine", type=Engine, default=Engine.AUTO)
    options = parser.parse_args()
    served: ServedModel = BrightModel()
    if options.model:
        served = StoredModel.find(options.model, options.engine)
    fault = signal.SIGSTOP if options.hang else signal.SIGKILL
    with (
        Supervisor() as supervisor,
        SharedInference(
            supervisor, served, BatchSettings(), standby=options.standby, standby_delay=1.0
        ) as shared,
    ):
        until(lambda: shared.is_ready, 300)
        moments: list[list[float]] = [[] for _ in range(options.clients)]
        for times in moments:
            threading.Thread(target=classify, args=(shared, served, times), daemon=True).start()
        pauses = []
        for number in range(options.kills):
            until(lambda: shared.has_standby if options.standby else shared.is_ready, 300)
            time.sleep(1.0)
            began = time.monotonic()
            os.kill(read_statistics(shared.address, 15).pid, fault)
            until(lambda began=began: all(times and times[-1] > began + 0.2 for times in moments), 300)
            time.sleep(1.0)
            pauses.append(max(longest_pause(times, began - 1.0) for times in moments))
            print(f"{number + 1:>3}  {pauses[-1] * 1000:7.0f} ms")
        until(lambda: shared.has_standby if options.standby else shared.is_ready, 300)
        print(f"median {statistics.median(pauses) * 1000:.0f} ms, worst {max(pauses) * 1000:.0f} ms")
        for name in (PROCESS, STANDBY):
            status = supervisor.status(name)
            if status and status.pid:
                print(f"{name}: {private_megabytes(status.pid):.0f} MB of its own")


def classify(shared: SharedInference, served: ServedModel, times: list[float]) -> None:
    with RemoteClassifier(shared.address, served, slots=1, timeout=300) as classifier:
        image = classifier.model_input(np.zeros((64, 64, 3), np.uint8))[np.newaxis]
        while True:
            classifier.classify(image)
            times.append(time.monotonic())


def longest_pause(times: list[float], since: float) -> float:
    """Seconds between two answers since a moment."""
    return max(
        later - before for before, later in itertools.pairwise([moment for moment in times if moment > since])
    )


def private_megabytes(pid: int) -> float:
    """Memory that would be free if the process were not there."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


if __name__ == "__main__":
    main()
