"""What the benchmark makes of the service's answers, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.benchmark.served import Service, StreamRefusedError
from service.engines import Engine
from service.errors import BenchmarkError

ROOM = {"capacity": 30.0, "promised": 25.0, "asked": 5.0, "fits": 2.0}
ANSWERS = {
    "full": (429, {"status": 429, "detail": "there is no room", **ROOM}),
    "many": (409, {"status": 409, "detail": "there are 256 streams"}),
    "broken": (500, {"status": 500, "detail": "its log says why"}),
    "odd": (400, ["no problem"]),
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, problem = ANSWERS[asked["name"]]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(problem).encode())

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        service = Service("sports", Engine.AUTO, tmp_path, [])
        service._url = f"http://127.0.0.1:{server.server_port}"
        yield service
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "message", "figures"),
    [
        ("full", "stream full was refused (429: there is no room)", ROOM),
        ("many", "stream many was refused (409: there are 256 streams)", {}),
        ("odd", 'stream odd was refused (400: ["no problem"])', {}),
    ],
)
def test_a_refusal_with_its_figures(
    service: Service, name: str, message: str, figures: dict[str, float]
) -> None:
    """The admission's own figures are kept: they say what the number of streams is bound by."""
    with pytest.raises(StreamRefusedError) as caught:
        service.add(name, "http://camera/")
    assert str(caught.value) == message
    assert caught.value.figures == figures


def test_a_fault_is_no_refusal(service: Service) -> None:
    """A service that breaks has not said that it takes no more."""
    with pytest.raises(BenchmarkError, match="500: its log says why") as caught:
        service.add("broken", "http://camera/")
    assert not isinstance(caught.value, StreamRefusedError)


def test_a_service_that_is_gone(tmp_path: Path) -> None:
    """No answer is one of the errors that cost a part, not the figures of all of them."""
    service = Service("sports", Engine.AUTO, tmp_path, [])
    service._url = "http://127.0.0.1:1"
    with pytest.raises(BenchmarkError, match="does not answer GET /streams/door"):
        service.stream("door")
