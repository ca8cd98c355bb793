"""Does a large upload cost memory? python -m tests.upload_memory [--megabytes 2048]

Uploads a small clip, then one with so much padding that it has the wanted size, and prints the highest memory
that the service, and its largest child, had held after each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.service.api.conftest import make_clip, until
from tests.service.program import Program, descendants, program

MEGABYTE = 1 << 20
BOUNDARY = "padded"


def form(clip: Path, megabytes: int) -> Iterator[bytes]:
    """A multipart form with the clip and ``megabytes`` of padding behind it, piece by piece."""
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{clip.name}"\r\n\r\n'
    ).encode()
    yield clip.read_bytes() + b"JUNK" + (megabytes * MEGABYTE).to_bytes(4, "little")
    piece = bytes(MEGABYTE)
    for _ in range(megabytes):
        yield piece
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(service: Program, clip: Path, megabytes: int) -> None:
    """Upload and wait until the clip is done."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = httpx.post(f"{service.url}/clips", content=form(clip, megabytes), headers=headers, timeout=600)
    assert answer.status_code == 202, answer.text
    address = f"{service.url}/clips/{answer.json()['id']}"
    until(lambda: httpx.get(address).json()["state"] == "done", 300)
    httpx.delete(address)


def peak(pid: int) -> int:
    """Kilobytes that a process held at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def peaks(service: Program) -> tuple[int, int]:
    """Of the service itself, and of the largest process that it has started and that still runs."""
    return peak(service.process.pid), max(map(peak, descendants(service.process.pid)), default=0)


def measure(folder: Path, megabytes: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Peaks after a small upload and after one of ``megabytes``."""
    clip = make_clip(folder / "clip.avi")
    with program(folder, model="quick") as service:
        until(service.ready, 120)
        upload(service, clip, 2)
        small = peaks(service)
        upload(service, clip, megabytes)
        return small, peaks(service)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=2048)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        small, large = measure(Path(name), options.megabytes)
    for size, (service, child) in ((2, small), (options.megabytes, large)):
        print(f"after {size} MB: service {service / 1024:.1f} MB, largest child {child / 1024:.1f} MB")


if __name__ == "__main__":
    main()
