"""Main functions of child processes in tests, and what watches them. Imports little: every child pays."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.backoff import Backoff
from service.child import Child
from service.inference.client import RemoteClassifier
from service.inference.queueing import Priority
from service.inference.server import InferenceListener, InferenceSettings, serve_inference
from service.inference.turn import Turn
from service.inference.wire import InferenceAddress
from service.supervisor import ChildSpec, ChildState, Supervisor
from service.types import Image

PATIENCE = 15.0
SHAPE = (224, 224, 3)
QUICK = Backoff(first=0.05, limit=0.4)


def wait_until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a corpse that only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def named_memory(pids: Iterable[int]) -> set[Path]:
    """What these processes have of /dev/shm, mapped or open: what would stay when they are killed."""
    found = set()
    for pid in pids:
        with suppress(OSError):  # it ended meanwhile
            found.update(re.findall(r"/dev/shm/\S+", Path(f"/proc/{pid}/maps").read_text()))
            found.update(map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()))
    return {Path(name) for name in found if name.startswith("/dev/shm/")}


def idle(child: Child, notes: str | None = None) -> None:
    """Beats until told to stop; then writes a note."""
    child.ready()
    while not child.stopping.wait(0.02):
        child.beat()
    if notes:
        Path(notes).write_text("finished")


def beat_until_told_to_hang(child: Child, order: str) -> None:
    """Beats; once the file ``order`` is there, removes it and falls silent, deaf to SIGTERM."""
    child.ready()
    while True:
        child.beat()
        if Path(order).exists():
            Path(order).unlink()
            while True:
                time.sleep(1)
        time.sleep(0.01)


def fall_silent(child: Child) -> None:
    """Never ready, deaf to SIGTERM."""
    while True:
        time.sleep(1)


def fail(child: Child, reason: str) -> None:
    raise ValueError(reason)


def end(child: Child) -> None:
    child.ready()


class BrightnessClassifier:
    """Tells the brightness of the first pixel, and the number of the process, in three classes."""

    views = 1

    def __init__(self, seconds: float = 0.0, third: str = "pid", order: Path | None = None) -> None:
        """``order`` is a file; once it is there, it is removed and the engine fails."""
        self.labels = ("dark", "bright", third)
        self._seconds = seconds
        self._order = order

    def model_input(self, image: Image, view: int = 0) -> Image:
        return np.resize(image, SHAPE).astype(np.uint8)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        time.sleep(self._seconds)
        if self._order and self._order.exists():
            self._order.unlink()
            raise RuntimeError("the device is lost")
        bright = inputs[:, 0, 0, 0].astype(np.float32) / 255
        return np.stack([1 - bright, bright, np.full_like(bright, os.getpid())], axis=1)


class SideBySide(BrightnessClassifier):
    """One that may be called from two threads at once, with an input each."""

    lanes = 2

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert len(inputs) == 1
        return super().classify(inputs)


def serve_soon(child: Child, turn: Turn, holders: str) -> None:
    """Waits for its turn, adds its process number to the file ``holders``, and keeps the turn."""
    child.ready()
    if turn.wait_to_serve(child):
        with Path(holders).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not child.stopping.wait(0.1):
            child.beat()


def load_nothing() -> BrightnessClassifier:
    raise ValueError("no weights")


def inputs_of(*levels: int) -> npt.NDArray[np.uint8]:
    """(N, h, w, 3) model inputs, each of one level of grey."""
    return np.stack([np.full(SHAPE, level, np.uint8) for level in levels])


def inference_spec(
    listener: InferenceListener,
    settings: InferenceSettings | None = None,
    load: Callable[[], BrightnessClassifier] = BrightnessClassifier,
) -> ChildSpec:
    return ChildSpec(
        "inference",
        serve_inference,
        (listener.socket, load, settings or InferenceSettings()),
        beat_timeout=1.0,
        backoff=QUICK,
    )


def connect(
    address: InferenceAddress,
    *,
    priority: Priority = Priority.LIVE,
    slots: int = 8,
    timeout: float = PATIENCE,
    while_waiting: Callable[[], None] = lambda: None,
) -> RemoteClassifier:
    return RemoteClassifier(
        address,
        BrightnessClassifier(),
        priority=priority,
        slots=slots,
        timeout=timeout,
        while_waiting=while_waiting,
    )


def classify_on_and_on(child: Child, address: InferenceAddress, priority: Priority) -> None:
    """A stream that never pauses, with a full request in flight at nearly any moment."""
    with connect(address, priority=priority) as classifier:
        child.ready()
        while not child.stopping.is_set():
            classifier.classify(inputs_of(*range(8)))
            child.beat()


def be_a_service(folder: str) -> None:
    """A whole service in small; writes the process numbers of all its parts into ``folder`` and stays."""
    with InferenceListener() as listener, Supervisor() as supervisor:
        supervisor.start(inference_spec(listener))
        args = (listener.address, Priority.LIVE)
        supervisor.start(ChildSpec("stream", classify_on_and_on, args))
        supervisor.start(ChildSpec("deaf", beat_until_told_to_hang, (f"{folder}/never",)))
        names = ("inference", "stream", "deaf")
        for name in names:
            wait_until(partial(_is_running, supervisor, name))
        pids = [str(status.pid) for name in names if (status := supervisor.status(name))]
        Path(folder, "pids.part").write_text(" ".join([str(os.getpid()), *pids]))
        Path(folder, "address").write_bytes(listener.address.name)
        Path(folder, "pids.part").rename(Path(folder, "pids"))
        while True:
            time.sleep(1)


def _is_running(supervisor: Supervisor, name: str) -> bool:
    status = supervisor.status(name)
    return status is not None and status.state is ChildState.RUNNING


def tell_of_module(name: str) -> None:
    """Print whether this process has imported a module."""
    print(name in sys.modules, flush=True)
