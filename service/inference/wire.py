"""What the inference process and its clients agree upon. Nothing of it shows beyond this folder.

Over a Unix socket that keeps messages apart (SOCK_SEQPACKET)::

    client ── Hello ─────────────────────▶ server
           ◀─ Welcome, with a memfd ──────          (or Refusal, or the statistics asked for)
           ── Request(number, count) ────▶          inputs 0 .. count-1 lie in the shared memory
           ◀─ Answer(number) ─────────────          probabilities 0 .. count-1 lie there too

Labels may come and go between two answers: the first answer to each client afterwards brings the new
``Roster``, and the shared memory has room for as many as there may ever be.

A client has one request open at a time. Whatever goes wrong, it lets go of the connection and its memory
and makes a new one, so an answer can never meet a later request's inputs.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import socket
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from service.errors import InferenceFullError

VERSION: Final = 4
MESSAGE_BYTES: Final = 1 << 16
_HELLO: Final = struct.Struct("<4sBBH")
_REQUEST: Final = struct.Struct("<QHHd?")
_ANSWER: Final = struct.Struct("<Q")
_MAGIC: Final = b"vein"
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class InferenceAddress:
    """Where an inference process is reached: an abstract socket name, which leaves no file behind."""

    name: bytes


class Purpose(IntEnum):
    """What a connection is for; the first two are the priorities. ``FEATURES`` ranks with uploads."""

    LIVE = 0
    UPLOAD = 1
    STATISTICS = 2
    FEATURES = 3


@dataclass(frozen=True, slots=True)
class Hello:
    """A client's first message: how many inputs it would like to hand in at once."""

    purpose: Purpose
    slots: int

    def pack(self) -> bytes:
        return _HELLO.pack(_MAGIC, VERSION, self.purpose, self.slots)

    @classmethod
    def unpack(cls, message: bytes) -> Hello:
        """Raises ValueError for anything else."""
        try:
            magic, version, purpose, slots = _HELLO.unpack(message)
        except struct.error as error:
            raise ValueError(str(error)) from error
        if (magic, version) != (_MAGIC, VERSION) or not slots:
            raise ValueError(f"not a greeting: {message!r}")
        return cls(Purpose(purpose), slots)


@dataclass(frozen=True, slots=True)
class Roster:
    """What the probabilities of an answer are of: first ``labels``, then ``shadows``."""

    labels: tuple[str, ...]
    shadows: tuple[str, ...] = ()

    def pack(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, message: bytes) -> Roster:
        fields = json.loads(message)
        return cls(tuple(fields["labels"]), tuple(fields["shadows"]))


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer: what the engine is, and how many inputs may be handed in at once.

    ``classes`` are the labels that the engine was trained for; ``columns`` is the room for probabilities
    per input, and ``width`` that for features. ``frames`` is the length of a window.
    """

    classes: tuple[str, ...]
    roster: Roster
    input_shape: tuple[int, int, int]
    slots: int
    columns: int
    width: int
    frames: int

    def pack(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, message: bytes) -> Welcome:
        """Raises InferenceFullError, with the server's words, if it is a refusal."""
        fields = json.loads(message)
        if "refused" in fields:
            raise InferenceFullError(fields["refused"])
        roster = Roster(tuple(fields["roster"]["labels"]), tuple(fields["roster"]["shadows"]))
        height, width, channels = fields["input_shape"]
        sizes = (fields["slots"], fields["columns"], fields["width"], fields["frames"])
        return cls(tuple(fields["classes"]), roster, (height, width, channels), *sizes)


def pack_refusal(max_clients: int) -> bytes:
    """The answer to a client for whom there is no room."""
    reason = f"the inference process serves {max_clients} clients already, as many as it may"
    return json.dumps({"refused": reason}).encode()


@dataclass(frozen=True, slots=True)
class Request:
    """``count`` inputs are in place since ``submitted_at`` (``time.monotonic()``, one clock for all).

    ``attempt`` is above 1 if the same inputs were handed to a server that has gone; ``is_fresh`` says that
    they do not follow upon those of the request before.
    """

    number: int
    count: int
    attempt: int
    submitted_at: float
    is_fresh: bool = False

    def pack(self) -> bytes:
        return _REQUEST.pack(self.number, self.count, self.attempt, self.submitted_at, self.is_fresh)

    @classmethod
    def unpack(cls, message: bytes) -> Request:
        """Raises ValueError for anything else."""
        try:
            request = cls(*_REQUEST.unpack(message))
        except struct.error as error:
            raise ValueError(str(error)) from error
        if not request.count or not request.submitted_at >= 0:
            raise ValueError(f"not a request: {request}")
        return request


@dataclass(frozen=True, slots=True)
class Answer:
    """The probabilities of request ``number`` are in place; ``roster`` if it has changed since the last."""

    number: int
    roster: Roster | None = None

    def pack(self) -> bytes:
        return _ANSWER.pack(self.number) + (self.roster.pack() if self.roster else b"")

    @classmethod
    def unpack(cls, message: bytes) -> Answer:
        """Raises ValueError for anything else."""
        try:
            (number,) = _ANSWER.unpack_from(message)
        except struct.error as error:
            raise ValueError(str(error)) from error
        rest = message[_ANSWER.size :]
        return cls(number, Roster.unpack(rest) if rest else None)


class SharedSlots:
    """Room for ``slots`` model inputs and their probabilities, in memory that two processes share.

    ``inputs`` is (slots, h, w, 3) ``uint8``; ``probabilities`` (slots, columns) and ``features``
    (slots, width) are ``float32``. The memory goes when nothing refers to them any more, in either process.
    """

    def __init__(
        self, fd: int, slots: int, input_shape: tuple[int, int, int], columns: int, width: int = 0
    ) -> None:
        """Map the memory behind ``fd``, which stays the caller's to close."""
        offset, size = _layout(slots, input_shape, columns + width)
        memory = mmap.mmap(fd, size)
        inputs = np.frombuffer(memory, np.uint8, slots * math.prod(input_shape))
        self.inputs: npt.NDArray[np.uint8] = inputs.reshape(slots, *input_shape)
        floats = np.frombuffer(memory, np.float32, slots * (columns + width), offset)
        rows: npt.NDArray[np.float32] = floats.reshape(slots, columns + width)
        self.probabilities, self.features = rows[:, :columns], rows[:, columns:]


def create_slots(slots: int, input_shape: tuple[int, int, int], floats: int) -> int:
    """Return the descriptor of new memory for ``SharedSlots``, to map, send and close.

    ``floats`` is columns + width.
    """
    fd = os.memfd_create("model-inputs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, _layout(slots, input_shape, floats)[1])
        # Without seals a client could shrink the file, and touching it would then kill the server.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _layout(slots: int, input_shape: tuple[int, int, int], floats: int) -> tuple[int, int]:
    """Where the floats begin (inputs rounded up to whole cache lines) and the size of all, bytes."""
    offset = -(-slots * math.prod(input_shape) // 64) * 64
    return offset, offset + slots * floats * 4


def is_same_user(peer: socket.socket) -> bool:
    """Whether the process at the other end runs as our user: an abstract socket has no file permissions."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(credentials)[1] == os.getuid())
