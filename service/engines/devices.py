"""What there is to compute on: a GPU that TensorFlow can use, and how many cores this process may keep busy.

Answered without importing TensorFlow, which takes seconds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

DEVICES: Final = Path("/dev")
QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
LIBRARIES: Final = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/cuda/lib64",
)


def has_gpu(environment: Mapping[str, str] = os.environ, devices: Path = DEVICES) -> bool:
    """Whether there is an NVIDIA device (``/dev/nvidia0``, or ``/dev/dxg`` under WSL), which
    ``CUDA_VISIBLE_DEVICES`` does not hide, and cuDNN to use it with: from the extra ``gpu`` or the system.
    """
    hidden = environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if hidden or not (any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists()):
        return False
    return _has_cudnn(environment)


def _has_cudnn(environment: Mapping[str, str]) -> bool:
    if find_spec("nvidia") is not None and find_spec("nvidia.cudnn") is not None:
        return True
    folders = [*environment.get("LD_LIBRARY_PATH", "").split(":"), *LIBRARIES]
    return any(any(Path(folder).glob("libcudnn.so*")) for folder in folders if folder)


def cores(quota: Path = QUOTA) -> int:
    """Processor cores that this process may use: by its affinity, and by the quota of its container.

    The quota is that of Linux' control groups, version 2: microseconds, or ``max``, of each period.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        share, period = quota.read_text().split()
        return max(1, min(allowed, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):  # no quota, or none that is known
        return allowed
