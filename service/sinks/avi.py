"""Motion JPEG in an AVI container with the OpenDML 1.02 extensions (Matrox, 1997).

Why not ``cv2.VideoWriter``: measured with OpenCV 5.0, its own MJPG writer rounds the frame rate to a
whole number (29.97 becomes 30, below 1 fails) and its FFmpeg writer cuts odd sizes to even ones and
takes no JPEG quality. Here the rate is an exact fraction, any size is kept, and the file may grow to
256 GiB: every GiB starts a new RIFF segment with an index of its own, which FFmpeg, VLC and OpenCV
read as one video. The headers are right at every moment up to the last ``flush``, so a file that was
never closed still plays.
"""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

from service.types import SQUARE

SEGMENT_BYTES: Final = 1 << 30
MAX_SEGMENTS: Final = 256
_CHUNK: Final = b"00dc"
_HEADER_SIZE: Final = 4096 + 2048
"""Room for all headers before the first frame, so that they can be rewritten in place."""
_INDEX_BYTES: Final = 24
"""Of one frame in both indexes."""
_FRAMES_AT: Final = 48
"""Of dwTotalFrames in the main header."""


class AviTooLongError(ValueError):
    """The file would need more segments than its index has room for."""


class AviWriter:
    """Writes JPEG images of one size as one video stream into a seekable binary file.

    ``rate`` is in frames per second, ``pixel_aspect`` how wide a pixel is to be shown for its height.
    ``close`` writes the last index and headers but leaves the file open; a writer that is never closed leaves
    a playable file without an index for its last segment.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        rate: Fraction,
        *,
        pixel_aspect: Fraction = SQUARE,
        segment_bytes: int = SEGMENT_BYTES,
        max_segments: int = MAX_SEGMENTS,
    ) -> None:
        self._file = file
        self._size = (width, height)
        self._rate = rate
        self._properties = _video_properties(width, height, pixel_aspect)
        self._segment_bytes = segment_bytes
        self._max_segments = max_segments
        self._largest = 0
        self._indexes: list[tuple[int, int, int]] = []  # offset, bytes, frames of each index chunk
        self._entries: list[tuple[int, int]] = []  # offset, bytes of each frame of the segment
        self._segment_start = 0
        self._first_frames = self._first_end = self._riff_end = 0  # known once the first segment is done
        self._segments_done = 0  # those whose index is on disk
        self.frames = 0
        self._file.write(bytes(_HEADER_SIZE))
        self._movi = _HEADER_SIZE - 4
        self.flush()

    def write(self, jpeg: bytes) -> None:
        """Append one frame; raises ``AviTooLongError`` or ``OSError`` when there is no room left."""
        if self._file.tell() - self._segment_start + len(jpeg) > self._segment_bytes and self._entries:
            self._next_segment()
        position = self._file.tell()
        self._file.write(_CHUNK + struct.pack("<I", len(jpeg)) + jpeg + bytes(len(jpeg) % 2))
        self._entries.append((position, len(jpeg)))
        self._largest = max(self._largest, len(jpeg))
        self.frames += 1

    def flush(self) -> None:
        """Rewrite the headers so that they tell of all frames written so far."""
        end = self._file.tell()
        if self._segment_start:
            self._patch_size(self._segment_start + 4, end)
            self._patch_size(self._movi - 4, end)
        self._file.seek(0)
        self._file.write(self._headers(end))
        self._file.seek(end)
        self._file.flush()

    def close(self) -> None:
        self._end_segment()
        self.flush()

    def salvage(self, file: BinaryIO, spare: int) -> None:
        """Finish after a failure, in the same file, opened anew for reading and writing.

        Frames that are not whole are cut off, and as many before them as leave room for the index and for
        ``spare`` bytes, but not more than half of the segment. Raises OSError if that is not enough.
        """
        self._file = file
        del self._indexes[self._segments_done :]
        if not self._indexes:
            self._first_frames = self._first_end = self._riff_end = 0
        size = file.seek(0, os.SEEK_END)
        end = self._movi + 4
        limit = size - min((size - end) // 2, spare + _INDEX_BYTES * (len(self._entries) + 2))
        kept = []
        for at, length in self._entries:
            after = at + 8 + length + length % 2
            if after > limit:
                break
            kept.append((at, length))
            end = after
        self._entries = kept
        self.frames = sum(frames for _, _, frames in self._indexes) + len(kept)
        if not kept and self._segment_start:
            end, self._segment_start = self._segment_start, 0
        file.truncate(min(size, end))
        file.seek(0, os.SEEK_END)
        self.close()

    def _next_segment(self) -> None:
        if len(self._indexes) + 1 >= self._max_segments:
            limit = self._max_segments * self._segment_bytes >> 30
            raise AviTooLongError(f"an AVI file holds at most {limit} GiB")
        self._end_segment()
        self.flush()
        self._segments_done = len(self._indexes)
        self._entries = []
        self._segment_start = self._file.tell()
        self._file.write(b"RIFF\0\0\0\0AVIXLIST\0\0\0\0movi")
        self._movi = self._file.tell() - 4

    def _end_segment(self) -> None:
        """Write the OpenDML index of the segment and, for the first one, the classic ``idx1``."""
        if not self._entries:
            return
        offset, base = self._file.tell(), self._movi
        body = struct.pack("<HBBI4sQI", 2, 0, 1, len(self._entries), _CHUNK, base, 0)
        body += b"".join(struct.pack("<II", at + 8 - base, size) for at, size in self._entries)
        self._file.write(b"ix00" + struct.pack("<I", len(body)) + body)
        self._indexes.append((offset, len(body) + 8, len(self._entries)))
        end = self._file.tell()
        if self._segment_start:
            self._patch_size(self._movi - 4, end)
        else:
            self._first_end = end
            self._first_frames = len(self._entries)
            entries = (struct.pack("<4sIII", _CHUNK, 0x10, at - base, size) for at, size in self._entries)
            body = b"".join(entries)
            self._file.write(b"idx1" + struct.pack("<I", len(body)) + body)
            self._riff_end = self._file.tell()

    def _patch_size(self, at: int, end: int) -> None:
        position = self._file.tell()
        self._file.seek(at)
        self._file.write(struct.pack("<I", end - at - 4))
        self._file.seek(position)

    def _headers(self, end: int) -> bytes:
        """Everything up to the first frame, padded to ``_HEADER_SIZE`` bytes."""
        width, height = self._size
        rate, scale = self._rate.numerator, self._rate.denominator
        closed = bool(self._first_frames)
        microseconds = min(0xFFFFFFFF, round(1e6 * scale / rate))
        first = self._first_frames or self.frames
        avih = struct.pack(
            "<14I", microseconds, 0, 0, 0x10, first, 0, 1, self._largest, width, height, 0, 0, 0, 0
        )
        strh = struct.pack("<4s4sIHHIIIIIIIIhhhh", b"vids", b"MJPG", 0, 0, 0, 0, scale, rate, 0, self.frames,
                           self._largest, 0xFFFFFFFF, 0, 0, 0, 0, 0)  # fmt: skip
        strf = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
        entries = b"".join(struct.pack("<QII", *index) for index in self._indexes)
        indx = struct.pack("<HBBI4s12x", 4, 0, 0, len(self._indexes), _CHUNK)
        indx += entries.ljust(16 * MAX_SEGMENTS, b"\0")
        strl = _list(
            b"strl",
            _chunk(b"strh", strh),
            _chunk(b"strf", strf),
            _chunk(b"indx", indx),
            self._properties,
        )
        odml = _list(b"odml", _chunk(b"dmlh", struct.pack("<I244x", self.frames)))
        hdrl = _list(b"hdrl", _chunk(b"avih", avih), strl, odml)
        room = _HEADER_SIZE - 12 - len(hdrl) - 8 - 12
        movi_end = self._first_end if closed else end
        movi = b"LIST" + struct.pack("<I", movi_end - (_HEADER_SIZE - 4)) + b"movi"
        riff_end = self._riff_end if closed else end
        riff = b"RIFF" + struct.pack("<I", riff_end - 8) + b"AVI "
        return riff + hdrl + _chunk(b"JUNK", bytes(room)) + movi


def count_frames(path: Path) -> int:
    """Frames that the headers of a file by ``AviWriter`` tell of, closed or not; 0 for anything else."""
    with path.open("rb") as file:
        head = file.read(_FRAMES_AT + 4)
    if len(head) < _FRAMES_AT + 4 or not head.startswith(b"RIFF"):
        return 0
    return int(struct.unpack_from("<I", head, _FRAMES_AT)[0])


def _video_properties(width: int, height: int, pixel_aspect: Fraction) -> bytes:
    """The ``vprp`` chunk of OpenDML for pixels that are not square; those that are need none."""
    shape = (pixel_aspect * width / height).limit_denominator(1001)
    if pixel_aspect == SQUARE or not 0 < shape.numerator < 1 << 16:
        return b""
    picture = struct.pack("<5I2H3I", 0, 0, 0, 0, 0, shape.denominator, shape.numerator, width, height, 1)
    return _chunk(b"vprp", picture + struct.pack("<8I", height, width, height, width, 0, 0, 0, 0))


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _list(name: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", name + b"".join(chunks))
