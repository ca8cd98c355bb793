"""A camera shows a real scene, and the model that ships names it: to a program, and to eyes in a browser."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from models.artifact import load_artifact
from service.annotate import Annotator, layout
from service.types import Image, Prediction, SmoothedPrediction
from tests.rtsp import RtspServer, film_of_file, needs_rtsp
from tests.service.api.conftest import until
from tests.service.program import ROOT, alive, descendants

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZE = (640, 360)
PATIENCE = 60.0


@contextlib.contextmanager
def served(folder: Path, source: str) -> Iterator[str]:
    """``video-events serve`` as a user starts it, watching one camera."""
    log = folder / "log"
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--data", str(folder / "data")]
    with (
        log.open("w") as file,
        subprocess.Popen([*command, "--stream", f"court={source}"], cwd=ROOT, stderr=file) as process,
    ):
        try:
            found = until(lambda: re.search(r"listening on (http://\S+)", log.read_text()), PATIENCE)
            yield found[1]
            children = descendants(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0, log.read_text()
            until(lambda: not alive(children), 10)
        finally:
            process.kill()


def written_label(picture: Image, labels: tuple[str, ...]) -> str:
    """Which of ``labels`` is written in ``picture``: the one whose letters look most like those there."""
    place = layout(*SIZE)
    line = np.s_[
        place.top + place.pad // 2 : place.top + place.pad + place.letters,
        place.left + place.pad : place.left + place.width - 6 * place.letters,
    ]
    there = _letters(picture[line])
    likeness = {}
    for label in labels:
        drawn: Image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        probabilities = np.ones(1, np.float32)
        smoothed = SmoothedPrediction(Prediction(0, 0.0, probabilities), probabilities, label, 1.0)
        Annotator().draw(drawn, smoothed, None)
        likeness[label] = float(np.corrcoef(there.ravel(), _letters(drawn[line]).ravel())[0, 1])
    best = max(likeness, key=lambda label: likeness[label])
    assert likeness[best] > 0.7, likeness
    return best


def _letters(line: Image) -> Image:
    grey = np.asarray(cv2.cvtColor(line, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.asarray(cv2.GaussianBlur(grey, (3, 3), 0), np.uint8)


@needs_rtsp
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")
def test_a_camera_at_a_volleyball_court(tmp_path: Path) -> None:
    """The label arrives over a WebSocket, the event too, and the picture in Chromium bears the label."""
    frames = film_of_file(ROOT / "example_clips" / "volleyball.mp4", SIZE)
    with RtspServer(frames, size=SIZE, fps=25) as camera, served(tmp_path, camera.url) as url:
        address = url.replace("http", "ws", 1)
        with connect(f"{address}/events?after=0") as events:
            deadline = time.monotonic() + PATIENCE
            while (message := json.loads(events.recv(PATIENCE)))["type"] != "event":
                assert time.monotonic() < deadline
        assert (message["phase"], message["event"]["stream"]) == ("started", "court")
        assert message["event"]["label"] == "volleyball"
        with connect(f"{address}/streams/court/labels") as labels:
            assert json.loads(labels.recv(PATIENCE))["type"] == "snapshot"
            told = [one for _ in range(10) if (one := json.loads(labels.recv(PATIENCE)))["type"] == "label"]
        assert {one["label"] for one in told} == {"volleyball"}
        assert {one["event"] for one in told} == {message["event"]["id"]}
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.goto(f"{url}/streams/court/live.mjpeg", wait_until="commit")
            until(lambda: page.evaluate("document.images[0]?.naturalWidth === 640"), PATIENCE)
            until(lambda: page.screenshot() != page.screenshot(), PATIENCE)  # it moves
            shot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
            browser.close()
        assert written_label(np.asarray(shot, np.uint8), load_artifact("sports").labels) == "volleyball"
        assert httpx.get(f"{url}/streams/court").json()["state"] == "live"
