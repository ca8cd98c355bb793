"""What the screen keeps of a stream, by the settings that decide how late an event is known."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import numpy as np
import pytest

from service.child import Child
from service.config import RunSettings
from service.pipeline import Interpreter
from service.streams.outlet import Outlet
from service.streams.records import Record, StreamOptions
from service.streams.screen import Screen
from service.types import EventPhase, Frame, Prediction
from tests.service.fakes import read_video

CAMERA = 5.0
"""Frames per second."""


@pytest.mark.parametrize("limit", ["rate", "pace", "frames"])
def test_a_recording_begins_before_its_event_however_late_that_is_known(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classified once a second, as it asked, as it is granted or as frames come, it is known after 20 s."""
    ours, theirs = socket.socketpair()
    here, there = multiprocessing.Pipe()
    outlet = Outlet(Child(theirs), there)
    outlet.pace = 1.0 if limit == "pace" else None
    if limit == "frames":
        monkeypatch.setattr(outlet, "interval", lambda announced: 1.0)
    settings = RunSettings()
    options = StreamOptions(settings=settings, rate=1.0 if limit == "rate" else None, record=Record.EVENTS)
    screen = Screen(outlet, options, tmp_path, CAMERA)
    interpreter = Interpreter("camera.1", ("a", "background"), settings)
    delay = 0.0
    number = 0
    while not delay:
        pts = number / CAMERA
        if number % CAMERA == 0:
            share = 0.97 if pts >= 40 else 0.03
            probabilities = np.array([share, 1 - share], np.float32)
            messages = interpreter.update(Prediction(number, pts, probabilities))
            screen.note(messages)
            for message in messages:
                if message.phase is EventPhase.STARTED:
                    delay = pts - message.event.start_pts
        image = np.full((48, 64, 3), number // 2, np.uint8)
        screen.show(Frame("camera", number, pts, pts, image))
        number += 1
    screen.close(10.0)
    outlet.close(1.0)
    for end in (ours, theirs):
        end.close()
    for pipe in (here, there):
        pipe.close()
    assert delay > 15
    (file,) = tmp_path.glob("*.avi")
    images, _ = read_video(file)
    first = float(images[0].mean()) * 2 / CAMERA
    assert first == pytest.approx(40 - options.record_before, abs=1.0)
