"""Processes that nobody supervises end with the one that started them, however that went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.service.api.conftest import until
from tests.service.program import alive

DECODING = """
import os, signal
import cv2
import numpy as np
import psutil
from service.learning.intake import take_images

def while_waiting():
    children = [child.pid for child in psutil.Process().children()]
    waits.append(children)
    if len(waits) == 10:
        print(*children, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    waits = []
    noise = np.random.default_rng(1).integers(0, 256, (3000, 4000, 3), np.uint8)
    picture = cv2.imencode(".png", noise)[1].tobytes()
    take_images([("noise.png", picture)] * 100, while_waiting)
"""


def test_decoding_of_examples_ends_with_the_service(tmp_path: Path) -> None:
    script = tmp_path / "decoding.py"
    script.write_text(DECODING)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    children = [int(pid) for pid in done.stdout.split()]
    assert children
    until(lambda: not alive(children), 20)
