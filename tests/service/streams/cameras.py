"""A network camera, a model and a listener for the process of a stream; real sockets, small pictures."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Self, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from service.child import BEAT, READY, Child
from service.config import RunSettings
from service.errors import InferenceError, InferenceLostError
from service.streams.messages import MAX_BYTES, Announced, Labelled, Standing, Told, Watch, decode, encode
from service.streams.process import StreamTask, run_stream
from service.streams.records import StreamOptions
from service.streams.session import Limits
from service.types import EventPhase, Image, StreamState

PATIENCE = 30.0
SIZE = (96, 64)
QUICK = RunSettings(window=4, min_duration=0.1, merge_gap=0.1)
LIMITS = Limits(stalled=1.0, lost=3.0)
T = TypeVar("T")


def wait_until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def picture(kind: str, number: int, size: tuple[int, int] = SIZE) -> Image:
    """``bright`` and ``dim`` are patterns that change a little, ``frozen`` one that does not.

    ``still`` is a bright scene in which nothing moves, as a camera with some noise sees it.
    """
    width, height = size
    if kind == "still":
        noise = np.random.default_rng(number).integers(-3, 4, (height, width, 3), np.int8)
        return (picture("frozen", 0, size) + noise).astype(np.uint8)
    random = np.random.default_rng(1 if kind == "frozen" else number)
    if kind == "black":
        return random.integers(0, 4, (height, width, 3), np.uint8)
    low, high = (20, 80) if kind == "dim" else (170, 250)
    image = random.integers(low, high, (height, width, 3), np.uint8)
    image[:, width // 2 :] //= 2
    return image


class Camera:
    """Motion JPEG over HTTP, a frame every ``interval`` seconds; what it shows and does can be changed.

    ``mode`` is a kind of ``picture``, or ``hang`` (connected, says nothing), ``closed`` (hangs up, refuses),
    ``locked`` (wants a password). ``elsewhere`` is an address to send everybody to.
    """

    def __init__(self) -> None:
        self.mode = "bright"
        self.elsewhere: str | None = None
        self.hosts: list[str | None] = []
        self.size = SIZE
        self.sent = 0
        self.interval = 0.05
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.serve(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._running = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/live.mjpeg"

    def close(self) -> None:
        self._running = False
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        self.hosts.append(request.headers["Host"])
        if self.elsewhere:
            request.send_response(302)
            request.send_header("Location", self.elsewhere)
            request.end_headers()
            return
        if self.mode in ("closed", "locked"):
            request.send_error(503 if self.mode == "closed" else 401)
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        with contextlib.suppress(OSError):
            while self._running and self.mode not in ("closed", "locked"):
                if self.mode != "hang":
                    self.sent += 1
                    jpeg = cv2.imencode(".jpg", picture(self.mode, self.sent, self.size))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    request.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(self.interval)


@contextlib.contextmanager
def camera() -> Iterator[Camera]:
    one = Camera()
    try:
        yield one
    finally:
        one.close()


class BrightClassifier:
    """Bright pictures are ``bright``, all others background."""

    labels = ("bright", "other", "background")
    frames = 1
    views = 1

    def __init__(self, model: BrightModel, while_waiting: Callable[[], None]) -> None:
        self._model = model
        self._while_waiting = while_waiting

    def model_input(self, image: Image, view: int = 0) -> Image:
        return np.asarray(cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA), np.uint8)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        until = time.monotonic() + self._model.seconds
        while time.monotonic() < until:
            self._while_waiting()
            time.sleep(0.02)
        if self._model.away is not None and self._model.away.exists():
            raise InferenceLostError("no answer")
        bright = (inputs.mean(axis=(1, 2, 3)) > 90).astype(np.float32)
        return np.stack([0.9 * bright, np.full_like(bright, 0.1), 0.9 - 0.9 * bright], axis=1)

    def reset(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._model.left is not None:
            self._model.left.touch()


@dataclass(frozen=True)
class BrightModel:
    """Takes ``seconds`` to classify; cannot be reached while the file ``away`` is there; makes ``left`` when
    a stream lets go of it."""

    seconds: float = 0.0
    away: Path | None = None
    left: Path | None = None
    name: str = "bright 1"
    labels: tuple[str, ...] = BrightClassifier.labels
    views: int = 1

    def open_live(self, while_waiting: Callable[[], None]) -> BrightClassifier:
        if self.away is not None and self.away.exists():
            raise InferenceError("not there")
        return BrightClassifier(self, while_waiting)


class Running:
    """A stream at work in a thread, and all that it has told."""

    def __init__(self, task: StreamTask, model: BrightModel, *, reading: bool = True) -> None:
        self.told: list[Told] = []
        self.failure: BaseException | None = None
        self._beats, self._channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.child = Child(self._channel)
        self.ours, self._theirs = Pipe()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        if reading:
            self._listener.start()
        self.thread = threading.Thread(target=self._run, args=(task, model), daemon=True)
        self.thread.start()

    def watch(self, wanted: bool = True) -> None:
        self.ours.send_bytes(encode(Watch(wanted)))

    def all(self, kind: type[T]) -> list[T]:
        return [told for told in list(self.told) if isinstance(told, kind)]

    @property
    def states(self) -> list[StreamState]:
        return [standing.state for standing in self.all(Standing)]

    def wait_for_state(self, state: StreamState, after: int = 0) -> int:
        """Wait until ``state`` has been told after ``after`` other states; returns where that was."""
        wait_until(lambda: state in self.states[after:])
        return self.states.index(state, after)

    def phases(self, phase: EventPhase) -> list[Announced]:
        return [told for told in self.all(Announced) if told.message.phase is phase]

    def wait_for_event(self) -> Announced:
        before = len(self.phases(EventPhase.STARTED))
        wait_until(lambda: len(self.phases(EventPhase.STARTED)) > before)
        return self.phases(EventPhase.STARTED)[before]

    def stop(self) -> float:
        """Ask the stream to stop; returns the seconds that it took."""
        began = time.monotonic()
        self.child.stopping.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        took = time.monotonic() - began
        self._theirs.close()
        if self._listener.ident:
            self._listener.join(PATIENCE)
        for end in (self.ours, self._beats, self._channel):
            end.close()
        return took

    def beats(self) -> list[bytes]:
        """What the supervisor would have heard since the last call."""
        heard = []
        self._beats.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(self._beats.recv(1024))
        assert set(heard) <= {READY, BEAT}
        return heard

    def labels(self) -> list[Labelled]:
        return self.all(Labelled)

    def _run(self, task: StreamTask, model: BrightModel) -> None:
        try:
            run_stream(self.child, task, model, self._theirs)
        except BaseException as error:
            self.failure = error

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.told.append(decode(self.ours.recv_bytes(MAX_BYTES)))


def task_of(source: str, folder: Path | None = None, **fields: Any) -> StreamTask:
    options = StreamOptions(**({"settings": QUICK} | fields))
    return StreamTask(name="cam", source=source, options=options, trusted=True, folder=folder, limits=LIMITS)


@contextlib.contextmanager
def running(
    source: str, model: BrightModel | None = None, folder: Path | None = None, **fields: Any
) -> Iterator[Running]:
    stream = Running(task_of(source, folder, **fields), model or BrightModel())
    try:
        yield stream
        assert stream.failure is None
    finally:
        stream.stop()  # a second time does no harm
