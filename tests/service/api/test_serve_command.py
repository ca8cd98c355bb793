from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service.cli import BAD_INPUT, status_of
from tests.service.api.conftest import children_of, until

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
from service.api.server import serve
from service.api.settings import load_settings
from tests.service.api.fakes import ColourProvider
if __name__ == "__main__":
    serve(load_settings({"port": 0, "data": sys.argv[1]}), ColourProvider(gate=Path("/nonexistent"), free=24))
"""


@contextmanager
def program(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service in a process of its own, and its address."""
    script = folder / "program.py"
    script.write_text(PROGRAM)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "VIDEO_EVENTS_CLIP_FREE_BYTES": "0"}
    command = [sys.executable, str(script), str(folder / "data")]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            for line in running.stderr:
                if found := re.search(r"listening on (http://\S+)", line):
                    break
            else:
                pytest.fail("the service did not start")
            yield running, found[1]
        finally:
            running.kill()
            running.stderr.read()


def descendants(pid: int) -> list[int]:
    found = sorted(children_of(pid))
    return found + [deeper for child in found for deeper in descendants(child)]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ends_with_all_its_processes(tmp_path: Path, clip: Path, number: signal.Signals) -> None:
    """Asked to stop, or killed, in the middle of a clip: gone within 10 s, and so are its processes."""
    with program(tmp_path) as (running, url):
        until(lambda: _ready(url))
        with clip.open("rb") as file:
            clip_id = httpx.post(
                f"{url}/clips", files={"file": file}, data={"window": "4"}, timeout=30
            ).json()["id"]
        until(lambda: httpx.get(f"{url}/clips/{clip_id}").json()["events"])
        children = descendants(running.pid)
        assert children
        with connect(url.replace("http", "ws") + "/events") as socket:
            socket.recv()
            began = time.monotonic()
            running.send_signal(number)
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=10)
        status = running.wait(10)
        assert time.monotonic() - began < 10
        assert status == (0 if number == signal.SIGTERM else -number)
        until(lambda: not alive(children), 5)


def test_tokens_in_addresses_are_not_logged(tmp_path: Path) -> None:
    """Browsers put them there, for pictures and WebSockets; logs are read by others."""
    with program(tmp_path) as (running, url):
        until(lambda: _ready(url))
        httpx.get(f"{url}/clips?token=very-secret")
        with connect(url.replace("http", "ws") + "/events?token=very-secret") as socket:
            socket.recv()
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        log = running.stderr.read()
    assert "/clips" in log
    assert "very-secret" not in log


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


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
