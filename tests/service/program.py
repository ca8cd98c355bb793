"""The service as a program of its own, for tests that kill it or change the world around it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.service.api.conftest import children_of, until

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from service.api.server import serve
from service.api.settings import load_settings
from tests.service.api.fakes import ColourProvider
from tests.service.live import ColourModel
if __name__ == "__main__":
    model = ColourModel() if sys.argv[2] == "quick" else ColourProvider(gate=Path("/nonexistent"), free=24)
    serve(load_settings(json.loads(sys.argv[1])), model)
"""


@dataclass(frozen=True)
class Program:
    """A running service, its address, and the file to which it logs."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=30).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def program(
    folder: Path,
    *,
    model: str = "gated",
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Program]:
    """Start the service with its data in ``folder``; it is killed in the end, with all that it has started.

    ``model`` is ``quick``, or ``gated``: one that stops after 24 frames.
    """
    script, log = folder / "program.py", folder / "service.log"
    script.write_text(PROGRAM)
    wanted = {"port": 0, "data": str(folder / "data"), "clip_free_bytes": 0} | settings
    with (
        log.open("a") as file,
        subprocess.Popen(
            [sys.executable, str(script), json.dumps(wanted), model],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **(environment or {})},
            stderr=file,
        ) as running,
    ):
        before = file.tell()
        try:
            until(lambda: running.poll() is not None or _listening(log, before), 60)
            url = _listening(log, before)
            assert url, log.read_text()[before:]
            yield Program(running, url, log)
        finally:
            children = descendants(running.pid)
            running.kill()
            running.wait()
            until(lambda: not alive(children), 60)


def _listening(log: Path, start: int) -> str | None:
    found = re.search(r"listening on (http://\S+)\n", log.read_text()[start:])
    return found[1] if found else None


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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
