"""The machine that is measured on, and what processes take of it."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from service.engines.devices import cores

PACKAGES: Final = (
    "video-events",
    "numpy",
    "opencv-python-headless",
    "tensorflow",
    "keras",
    "openvino",
    "onnxruntime",
)


def describe() -> dict[str, Any]:
    """Processor, memory, operating system, versions, and how busy the machine was before."""
    load = psutil.getloadavg()[0]
    return {
        "processor": _processor(),
        "cores": cores(),
        "instructions": _instructions(),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "load_before": round(load, 2),
    }


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process and all below it: processor seconds so far, resident and proportional bytes.

    ``proportional`` (PSS) counts a page that n processes share as an nth for each; 0 where unknown.
    """

    cpu_seconds: float
    resident: int
    proportional: int


def usage_of(pid: int, *, shares: bool = True) -> Usage:
    """What the tree of processes below ``pid``, itself included, takes now. Ended ones do not count."""
    cpu_seconds, resident, proportional = 0.0, 0, 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return Usage(0.0, 0, 0)
    for process in family:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu_seconds += times.user + times.system
            resident += process.memory_info().rss
            if shares:
                proportional += getattr(process.memory_full_info(), "pss", 0)
    return Usage(cpu_seconds, resident, proportional)


class BusyWatch:
    """How busy the machine is from now on, whoever keeps it so."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the next call tells what was since this one
        self._began, self._used = time.monotonic(), _own_seconds()

    def share(self) -> float:
        """The part (0 to 1) of the time of all cores that was used since the start; to be asked once.

        Where this process may use only some of the cores, what it and all its children take of those counts,
        if that is more.
        """
        whole: float = psutil.cpu_percent() / 100
        own = (_own_seconds() - self._used) / max(1e-3, time.monotonic() - self._began)
        return min(max(whole, own / cores()), 1.0)


def _own_seconds() -> float:
    return usage_of(os.getpid(), shares=False).cpu_seconds


def peak_memory(pid: int | str = "self") -> int:
    """The most bytes that a process has had in memory so far (Linux's VmHWM); 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _instructions() -> list[str]:
    """Those of the instruction sets for neural networks that this processor has."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "asimddp", "i8mm")
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("flags", "features")):
                flags = set(line.partition(":")[2].split())
                return [name for name in wanted if name in flags]
    return []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
