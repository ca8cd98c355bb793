"""What is logged, by a program and by a process that it starts."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from service import event_log
from service.database import Database
from service.event_log import EventLog
from service.streams.messages import Standing
from service.streams.records import StreamDefinition
from service.streams.stream import Stream
from service.types import StreamState

PROGRAM = """
import logging, sys, time
from service import logs
from service.supervisor import ChildSpec, ChildState, Supervisor
from tests.service.children import fail

logs.name_process("serve")
logs.set_up(logs.LogSettings("INFO", logs.LogFormat(sys.argv[1])))
logging.getLogger("own").info("GET %s", "/\\n2026 INFO fake", extra={"status": 404})
with Supervisor() as supervisor:
    supervisor.start(ChildSpec("stream door", fail, ("broken",)))
    while supervisor.status("stream door").failures == 0:
        time.sleep(0.01)
"""


def logged(log_format: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, log_format]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.splitlines()


def test_lines_for_people() -> None:
    """A message is one line, whatever is in it, and tells which process it comes from."""
    own, child, *rest = logged("text")
    assert own.endswith(r" INFO serve own: GET /\n2026 INFO fake")
    assert datetime.fromisoformat(own[:29]).tzinfo  # in the hour that clocks have twice, too
    assert child.endswith(" ERROR stream door service.child: a supervised process failed")
    assert rest[0].startswith("Traceback")


def test_json_for_programs() -> None:
    """Every line is an object: where and when it was said, what belongs to it, and the error's traceback."""
    own, child, *_ = (json.loads(line) for line in logged("json"))
    datetime.fromisoformat(own.pop("timestamp"))
    assert own.pop("process") != child["process"]
    assert own == {
        "level": "INFO",
        "process_name": "serve",
        "logger": "own",
        "message": "GET /\n2026 INFO fake",
        "status": 404,
    }
    assert (child["level"], child["process_name"]) == ("ERROR", "stream door")
    assert "Traceback" in child["exc_info"]


def test_a_state_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A camera that is away for days does not fill the disk with its tries to connect."""
    loop = asyncio.new_event_loop()
    with Database(tmp_path / "test.db", event_log.SCHEMA) as database, caplog.at_level(logging.INFO):
        stream = Stream(
            StreamDefinition(name="door", source="0"),
            EventLog(database),
            "colours 1",
            loop,
        )
        for state, reason in [
            *[(StreamState.CONNECTING, None), (StreamState.LOST, "no route")] * 3,
            *[(StreamState.CONNECTING, None), (StreamState.LIVE, None)],
            *[(StreamState.LOST, "no route")],
        ]:
            stream._hear(Standing(state, reason, 1, None))
        stream.close(5.0)
    loop.close()
    told = [record.getMessage() for record in caplog.records]
    assert told == ["stream door is lost: no route", "stream door is live", "stream door is lost: no route"]
    assert vars(caplog.records[0])["stream"] == "door"
