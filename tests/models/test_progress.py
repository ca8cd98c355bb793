"""What a training tells of itself, on a terminal and elsewhere."""

import os
import pty
import sys

import pytest

from models.progress import Steps, verbosity


def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Their escape codes make a log unreadable; where nothing is open, nothing is said."""
    assert [verbosity(), verbosity(0), verbosity(1)] == [2, 0, 1]
    monkeypatch.setattr(sys, "stdout", None)
    assert verbosity() == 0
    controller, terminal = pty.openpty()
    with open(terminal, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert verbosity() == 1
        Steps(2, "batch", verbosity()).add(2)
        assert "\x1b" in os.read(controller, 10_000).decode()
    os.close(controller)


def test_a_long_pass_is_a_few_lines_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Enough to see that it goes on, and no line for each of thousands of batches."""
    steps = Steps(4000, "batch", 2)
    for _ in range(1000):
        steps.add(4)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"batch {n}000 of 4000" for n in range(1, 5)]
    Steps(16, "frame", 2).add(16)
    assert capsys.readouterr().out == "frame 16 of 16, 0 s\n"
    Steps(2, "batch", 2).add(2)
    Steps(4000, "batch", 0).add(4000)
    Steps(0, "frame", 1)
    assert capsys.readouterr().out == ""
