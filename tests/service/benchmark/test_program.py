from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.service.api.conftest import until
from tests.service.program import alive

BENCHMARK = """
import sys, time
from pathlib import Path
from service.benchmark.program import start
print(start(["serve", "--port", "0", "--data", sys.argv[1] + "/data"], Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    """A terminal that is closed, or a machine out of memory, leaves no service that listens for ever."""
    with subprocess.Popen([sys.executable, "-c", BENCHMARK, tmp_path], stdout=subprocess.PIPE) as benchmark:
        assert benchmark.stdout
        pid = int(benchmark.stdout.readline())
        try:
            assert alive([pid])
            benchmark.kill()
            until(lambda: not alive([pid]), 30)
        finally:
            for left in alive([pid]):
                os.kill(left, signal.SIGKILL)
