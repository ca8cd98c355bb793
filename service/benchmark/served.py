"""``video-events serve`` as a child: started, asked and ended from outside, as an operator would."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Self

from service.benchmark import program
from service.benchmark.machine import Usage, usage_of
from service.engines import Engine
from service.errors import BenchmarkError

READY_SECONDS: Final = 300.0
STOP_SECONDS: Final = 20.0
LOOK_EVERY: Final = 0.05
MOST_STREAMS: Final = 256
ADMISSION: Final = ("capacity", "promised", "asked", "fits")


class StreamRefusedError(BenchmarkError):
    """The service does not take a further stream.

    ``figures`` are those of its admission (classifications per second: ``capacity``, ``promised``, ``asked``,
    ``fits``) if there was no room; empty if it is for another reason.
    """

    def __init__(self, message: str, figures: Mapping[str, float]) -> None:
        super().__init__(message)
        self.figures = dict(figures)


class Service:
    """A context manager that waits until the service is ready; ``ready_seconds`` is how long that took."""

    def __init__(self, model: str, engine: Engine, folder: Path, allowed: Sequence[str]) -> None:
        """``allowed`` are the hosts from which streams may come."""
        config = folder / "serve.toml"
        config.write_text(
            f"allowed_sources = {json.dumps(list(allowed))}\n"
            f"max_streams = {MOST_STREAMS}\nmax_subscribers = 4096\nmax_viewers = {MOST_STREAMS}\n"
            "max_connections = 8192\n",
            encoding="utf-8",
        )
        self._folder = folder
        self._arguments = ["serve", "--port", "0", "--log-level", "info", "--model", model]
        self._arguments += ["--engine", engine.value, "--data", str(folder / "data"), "--config", str(config)]
        self._said: deque[str] = deque(maxlen=20)
        self._url: str | None = None
        self.ready_seconds = 0.0

    def __enter__(self) -> Self:
        began = time.perf_counter()
        self._process = program.start(self._arguments, self._folder)
        self._reader = threading.Thread(target=self._read, name="service log", daemon=True)
        self._reader.start()
        try:
            self._wait_until_ready(began + READY_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        self.ready_seconds = time.perf_counter() - began
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1)
        if self._process.stderr:
            self._process.stderr.close()

    @property
    def url(self) -> str:
        assert self._url
        return self._url

    def usage(self) -> Usage:
        return usage_of(self._process.pid)

    def add(self, name: str, source: str, **options: Any) -> None:
        """Add a stream. Raises ``StreamRefusedError`` with the service's words if it will not have it."""
        try:
            self._call("POST", "/streams", {"name": name, "source": source, "options": options})
        except _AnswerError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            figures = {name: value for name, value in error.problem.items() if name in ADMISSION}
            raise StreamRefusedError(f"stream {name} was refused ({error})", figures) from error

    def stream(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", f"/streams/{name}")
        return found

    def remove(self, name: str) -> None:
        self._call("DELETE", f"/streams/{name}")

    def wait_for_labels(self, names: Sequence[str], seconds: float) -> None:
        """Raises ``BenchmarkError`` naming a stream that has no label after ``seconds``."""
        deadline = time.monotonic() + seconds
        for name in names:
            while (stream := self.stream(name))["label"] is None:
                if time.monotonic() > deadline:
                    reason = stream["reason"] or "no label"
                    raise BenchmarkError(f"stream {name} is {stream['state']} ({reason}) after {seconds:g} s")
                time.sleep(LOOK_EVERY)

    def _wait_until_ready(self, deadline: float) -> None:
        while time.perf_counter() < deadline:
            if self._process.poll() is not None:
                self._reader.join(1)
                raise BenchmarkError("video-events serve ended: " + " ".join(self._said)[-500:])
            if self._url:
                with contextlib.suppress(BenchmarkError):
                    self._call("GET", "/readyz")
                    return
            time.sleep(LOOK_EVERY)
        raise BenchmarkError(f"video-events serve was not ready within {READY_SECONDS:g} s")

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._said.append(line.strip())
            if self._url is None and (found := re.search(r"listening on (http://\S+)", line)):
                self._url = found[1]

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise _AnswerError(error.code, error.read()) from error
        except (OSError, HTTPException, ValueError) as error:
            raise BenchmarkError(f"video-events serve does not answer {method} {path}: {error}") from error


class _AnswerError(BenchmarkError):
    """The service answers with a problem."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.problem = status, dict[str, Any]()
        with contextlib.suppress(ValueError, TypeError):
            self.problem = dict(json.loads(body))
        super().__init__(f"{status}: {self.problem.get('detail') or body.decode(errors='replace')}")
