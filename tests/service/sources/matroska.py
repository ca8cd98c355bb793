"""Writes Matroska files of Motion JPEG without a stated frame rate, as browsers' recorders do."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2

from service.types import Image


def write_matroska(path: Path, frames: Sequence[tuple[float, Image]]) -> Path:
    """``frames`` are times in seconds, below 32 s, and pictures of one size; each is shown until the next."""
    height, width = frames[0][1].shape[:2]
    times = [round(seconds * 1000) for seconds, _ in frames]
    duration = 2 * times[-1] - times[-2]
    video = _element(0xE0, _number(0xB0, width), _number(0xBA, height))
    codec = _element(0x86, b"V_MJPEG")
    track = _element(0xAE, _number(0xD7, 1), _number(0x73C5, 1), _number(0x83, 1), codec, video)
    info = _element(0x1549A966, _number(0x2AD7B1, 1_000_000), _element(0x4489, struct.pack(">d", duration)))
    blocks = [
        _element(0xA3, struct.pack(">BhB", 0x81, time, 0x80), cv2.imencode(".jpg", image)[1].tobytes())
        for time, (_, image) in zip(times, frames, strict=True)
    ]
    cluster = _element(0x1F43B675, _number(0xE7, 0), *blocks)
    head = _element(0x1A45DFA3, _element(0x4282, b"matroska"), _number(0x4287, 4), _number(0x4285, 2))
    path.write_bytes(head + _element(0x18538067, info, _element(0x1654AE6B, track), cluster))
    return path


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(4, "big"))


def _element(name: int, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    size = (len(body) | 1 << 56).to_bytes(8, "big")
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + size + body
