"""The commands of the Dockerfile, as its shell gets them; no engine is needed for that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.api.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
INSTRUCTIONS = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """With the ``python`` that runs the tests before others."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    known = {"cwd": ROOT, "capture_output": True, "text": True, "check": False}
    return subprocess.run(command, env={"PATH": path, **environment}, **known)


@pytest.mark.parametrize("extra", ["", "gpu", "export,train"])
def test_dependencies_are_installed_before_the_code_is_there(extra: str) -> None:
    """Those of pyproject.toml, so that a change of the code reinstalls none."""
    command = re.search(r"^RUN (python -c .*) > requirements.txt", INSTRUCTIONS, re.MULTILINE)
    assert command
    assert command.end() < INSTRUCTIONS.index("COPY service")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for name in filter(None, extra.split(",")):
        wanted += project["optional-dependencies"][name]
    assert run("sh", "-c", command[1], EXTRA=extra).stdout.splitlines() == wanted


def test_serve_with_flags_of_ones_own_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker run … serve --stream …` listens where the container's ports are, and where the check asks."""
    (line,) = re.findall(r"^ENV (.*)", INSTRUCTIONS, re.MULTILINE)
    for name, value in (pair.split("=", 1) for pair in line.split()):
        if name.startswith("VIDEO_EVENTS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("VIDEO_EVENTS_TOKENS", '[{"name": "me", "token": "0123456789abcdef"}]')
    assert load_settings({"streams": {"desk": "0"}}).host == "0.0.0.0"


def test_the_health_check_asks_where_the_service_listens() -> None:
    """At the port that the container is told."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    command = re.search(r"^HEALTHCHECK .*? CMD (.*)", INSTRUCTIONS, re.MULTILINE)
    assert command
    assert "get('VIDEO_EVENTS_PORT', '8000')" in command[1]
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run(*json.loads(command[1]), VIDEO_EVENTS_PORT=str(server.server_port))
        server.shutdown()
    assert (done.returncode, asked) == (0, ["/healthz"]), done.stderr
