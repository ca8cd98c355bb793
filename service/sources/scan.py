"""Whether the headers of a stream announce interlaced pictures: all that is known before a picture comes.

H.264 (ITU-T H.264, 7.3.2.1.1), H.265 (ITU-T H.265, 7.3.1 and 7.3.3), MPEG-2 (ISO/IEC 13818-2, 6.2.2.3).
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

_START: Final = re.compile(rb"\x00\x00\x01")
_EMULATION: Final = re.compile(rb"(?<=\x00\x00)\x03")
_MPEG2_EXTENSION: Final = 0xB5
_MPEG2_SEQUENCE: Final = 1
_H264_SEQUENCE: Final = 7
_H265_SEQUENCE: Final = 33
_WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Profiles of H.264 that state how colour is sampled."""
_LONGEST: Final = 1000
"""Bytes of a header that are read; the longest lawful one is shorter."""


def announces_interlaced(headers: bytes) -> bool:
    """Whether ``headers``, FFmpeg's extradata, say that pictures may be interlaced."""
    return any(_is_interlaced(unit[:_LONGEST]) for unit in _units(headers) if unit)


def _units(headers: bytes) -> list[bytes]:
    """The units between start codes, or those of an ``avcC`` box (ISO/IEC 14496-15, 5.3.3.1)."""
    if headers[:1] != b"\x01":
        return _START.split(headers)[1:]
    units, at = [], 6
    for _ in range(headers[5] & 31 if len(headers) > 5 else 0):
        length = int.from_bytes(headers[at : at + 2])
        units.append(headers[at + 2 : at + 2 + length])
        at += 2 + length
    return units


def _is_interlaced(unit: bytes) -> bool:
    bits = _Bits(_EMULATION.sub(b"", unit[1:]))
    with suppress(EOFError):
        if unit[0] == _MPEG2_EXTENSION:
            return bits.take(4) == _MPEG2_SEQUENCE and not bits.skip(8).take()  # profile, level
        if unit[0] & 0x80:  # forbidden in H.264 and H.265
            return False
        if unit[0] & 31 == _H264_SEQUENCE:
            return _h264_has_fields(bits)
        if unit[0] >> 1 == _H265_SEQUENCE:
            return bool(bits.skip(8 + 8 + 8 + 32 + 1).take())  # up to general_interlaced_source_flag
    return False


def _h264_has_fields(bits: _Bits) -> bool:
    """``not frame_mbs_only_flag``, which all this must be read for."""
    profile = bits.take(8)
    bits.skip(16).exp_golomb()
    if profile in _WITH_CHROMA_FORMAT:
        chroma = bits.exp_golomb()
        if chroma == 3:
            bits.skip(1)
        bits.exp_golomb()
        bits.exp_golomb()
        bits.skip(1)
        if bits.take():
            for number in range(12 if chroma == 3 else 8):
                if bits.take():
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.exp_golomb()
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.skip(1).exp_golomb()
        bits.exp_golomb()
        for _ in range(bits.exp_golomb()):
            bits.exp_golomb()
    bits.exp_golomb()
    bits.skip(1).exp_golomb()
    bits.exp_golomb()
    return not bits.take()


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    """7.3.2.1.1.1: differences, modulo 256, until one makes the next value 0."""
    value = 8
    for _ in range(size):
        code = bits.exp_golomb()
        value = (value + (code + 1) // 2 * (1 if code % 2 else -1)) % 256
        if value == 0:
            return


class _Bits:
    """Reads bits, the most significant first; raises EOFError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int = 1) -> int:
        self.skip(count)
        return (self._value >> self._left) & ((1 << count) - 1)

    def skip(self, count: int) -> _Bits:
        if count > self._left:
            raise EOFError
        self._left -= count
        return self

    def exp_golomb(self) -> int:
        """An unsigned number, 9.1."""
        zeros = 0
        while not self.take():
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
