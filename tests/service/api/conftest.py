"""A real server on a free port, with a fake model that clips' processes can load."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest

from service.api.server import bind, make_server
from service.api.settings import ServeSettings
from service.api.state import Services
from service.sinks.avi import AviWriter
from service.types import ServedModel
from tests.service.api.fakes import ColourProvider
from tests.service.fakes import scene

SCENES = ["background"] * 10 + ["red"] * 30 + ["blue"] * 30
OPTIONS = {"window": "4"}


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for a condition and return what it came to."""
    deadline = time.monotonic() + seconds
    while not (outcome := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
    return outcome


def make_clip(path: Path, scenes: list[str] = SCENES, size: tuple[int, int] = (64, 48)) -> Path:
    with path.open("wb") as file:
        writer = AviWriter(file, *size, Fraction(10))
        for name in scenes:
            writer.write(cv2.imencode(".jpg", scene(name, *size))[1].tobytes())
        writer.close()
    return path


@dataclass(frozen=True)
class Served:
    url: str
    client: httpx.Client
    services: Services
    data: Path

    def upload(self, clip: Path, **fields: str) -> httpx.Response:
        with clip.open("rb") as file:
            return self.client.post("/clips", files={"file": (clip.name, file)}, data=OPTIONS | fields)

    def clip(self, clip_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/clips/{clip_id}")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def wait_for(self, clip_id: str, state: str) -> dict[str, Any]:
        return until(lambda: (c := self.clip(clip_id))["state"] == state and c)  # type: ignore[no-any-return]

    def socket_url(self, query: str = "") -> str:
        return self.url.replace("http", "ws") + "/events" + query


Serve = Callable[..., Any]


@contextmanager
def serving(data: Path, provider: ServedModel, **settings: Any) -> Iterator[Served]:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        settings.setdefault("learned", data / "learned")
        configured = ServeSettings(data=data, clip_free_bytes=0, **settings)
        server = make_server(configured, provider)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=30) as client:
                app: Any = server.config.app
                yield Served(url, client, app.state.services, data)
        finally:
            server.should_exit = True
            thread.join(15)
            assert not thread.is_alive()


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts servers on one data folder: ``with serve(provider, **settings) as served``."""

    def start(provider: ColourProvider | None = None, **settings: Any) -> Any:
        return serving(tmp_path / "data", provider or ColourProvider(), **settings)

    return start


@pytest.fixture
def served(serve: Serve) -> Iterator[Served]:
    with serve() as one:
        yield one


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "my match.avi")


def children_of(pid: int) -> set[int]:
    """Processes whose parent is ``pid``, zombies included."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.add(int(folder.name))
    return found
