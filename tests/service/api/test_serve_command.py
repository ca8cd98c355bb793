from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service.api import server
from service.api.server import bind
from service.cli import status_of
from service.commands.statuses import BAD_INPUT
from service.errors import ConfigurationError
from tests.service.api.conftest import until
from tests.service.live import TIMED, within
from tests.service.program import ROOT, alive, descendants, program


@TIMED
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ends_with_all_its_processes(tmp_path: Path, clip: Path, number: signal.Signals) -> None:
    """Asked to stop, or killed, in the middle of a clip: gone within 10 s, and so are its processes."""
    with program(tmp_path) as service:
        running, url = service.process, service.url
        until(service.ready)
        with clip.open("rb") as file:
            clip_id = httpx.post(
                f"{url}/clips", files={"file": file}, data={"window": "4"}, timeout=30
            ).json()["id"]
        until(lambda: httpx.get(f"{url}/clips/{clip_id}").json()["events"])
        children = descendants(running.pid)
        assert children
        with connect(url.replace("http", "ws") + "/events") as events:
            events.recv()
            began = time.monotonic()
            running.send_signal(number)
            with pytest.raises(ConnectionClosed):
                events.recv(timeout=30)
        status = running.wait(30)
        assert time.monotonic() - began < within(10)
        assert status == (0 if number == signal.SIGTERM else -number)
        until(lambda: not alive(children))


def test_stops_at_once_whoever_watches_or_uploads(tmp_path: Path, clip: Path) -> None:
    """Live pictures end, also those that are hardly ever sent, an upload is told that the service stops, and
    nothing is a fault to the log."""
    streams = {"film": {"source": str(clip), "crop": [0, 0, 1, 1]}}
    with program(tmp_path, model="quick", streams=streams) as service, ExitStack() as stack:
        until(service.ready)
        viewer = stack.enter_context(httpx.Client(base_url=service.url, timeout=20))
        watching = stack.enter_context(viewer.stream("GET", "/streams/film/live.mjpeg"))
        seldom = stack.enter_context(viewer.stream("GET", "/streams/film/live.mjpeg?rate=0.01")).iter_raw()
        assert next(seldom)
        upload = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(service.url).port)))
        upload.sendall(
            b"POST /clips HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nabc'
        )
        until(lambda: list((tmp_path / "data" / "clips").glob("*/upload")))
        service.process.send_signal(signal.SIGTERM)
        for _ in (*watching.iter_raw(), *seldom):
            pass
        upload.settimeout(30)
        answer = b"".join(iter(lambda: upload.recv(4096), b""))
        assert service.process.wait(30) == 0
        log = service.log.read_text()
    assert b" 503 " in answer
    assert b"application/problem+json" in answer
    assert b"being stopped" in answer
    assert "stopping" in log
    assert "ERROR" not in log
    assert "Traceback" not in log


def test_why_it_cannot_start_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "video-events.db").write_bytes(bytes(range(256)) * 20)
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", "0", "--data", str(data)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == BAD_INPUT
    (line,) = done.stderr.splitlines()
    assert line.startswith("video-events: cannot open the database")


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    """The most likely reason why it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            bind("127.0.0.1", port)
    assert str(caught.value) == f"port {port} of 127.0.0.1 is in use; choose another --port"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_every_address_is_those_of_ipv4_too(host: str) -> None:
    """A health check, or a proxy, asks 127.0.0.1 also where the clients have IPv6."""
    with bind(host, 0) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=10).close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("asyncio", "socket.send() raised exception."),
        ("uvicorn.error", "Invalid UTF-8 sequence received from client."),
        ("uvicorn.error", "ASGI callable returned without completing handshake."),
    ],
)
def test_what_clients_do_fills_no_log(name: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who breaks off, sends rubbish or is refused is no fault of the service; its other warnings stay."""
    log = logging.getLogger(name)
    before = list(log.filters)
    server._quiet_libraries()
    log.error(words)
    log.error("anything else")
    log.filters = before
    assert caplog.messages == ["anything else"]


def test_what_it_writes_is_its_owners_alone(tmp_path: Path, clip: Path) -> None:
    """Also in a folder that was there before: addresses of cameras hold passwords."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    streams = {"film": {"source": str(clip), "record": "always"}}
    with program(tmp_path, model="quick", streams=streams) as service:
        until(service.ready)
        until(lambda: list((data / "recordings").rglob("*.avi*")))
        written = [path for path in data.rglob("*") if not path.is_symlink()]
    assert len(written) > 3
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def test_tokens_in_addresses_are_not_logged(tmp_path: Path) -> None:
    """Browsers put them there, for pictures and WebSockets; logs are read by others."""
    with program(tmp_path) as service:
        running, url = service.process, service.url
        until(service.ready)
        httpx.get(f"{url}/clips?token=very-secret")
        with connect(url.replace("http", "ws") + "/events?token=very-secret") as events:
            events.recv()
        running.send_signal(signal.SIGTERM)
        running.wait(10)
        log = service.log.read_text()
    assert "/clips" in log
    assert "very-secret" not in log


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Mistakes in the arguments of serve are one line and status 2, as everywhere."""
    assert status_of(["serve", "--host", "0.0.0.0", "--data", str(tmp_path)]) == BAD_INPUT
    assert status_of(["serve", "--port", "70000"]) == BAD_INPUT
    assert status_of(["serve", "--config", "no-such.toml"]) == BAD_INPUT
    assert status_of(["serve", "--model", "no-such-model", "--data", str(tmp_path)]) == BAD_INPUT
    assert status_of(["serve", "--stream", "rtsp://me:secret@camera/1"]) == BAD_INPUT
    assert status_of(["serve", "--stream", "a/b=rtsp://me:secret@camera/1"]) == BAD_INPUT
    assert status_of(["serve", "--stream", "door=1", "--stream", "door=2"]) == BAD_INPUT
    assert status_of(["serve", "--allow-source", "10.0.0.0/99"]) == BAD_INPUT
    output = capsys.readouterr()
    assert "secret" not in output.err + output.out
    errors = output.err.splitlines()
    assert len(errors) == 8
    assert all(line.startswith("video-events: ") for line in errors)


def test_help_imports_nothing_heavy() -> None:
    """``serve --help`` stays quick: no image, web or network library is loaded for it."""
    code = (
        "import sys, service.cli; status = service.cli.status_of(['serve', '--help']); "
        "print([m for m in ('numpy', 'cv2', 'tensorflow', 'fastapi') if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.endswith("[] 0\n")
