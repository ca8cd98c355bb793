"""What a person can name as video: files, image sequences, RTSP and HTTP addresses, cameras.

``open_source`` decodes the first frame before it returns, so that whatever cannot be read fails there and
then, with a typed error of ``service.errors`` that says what to do. ``files``, ``network`` and ``cameras``
open what they are named after, by way of ``ffmpeg``; ``decoders`` settles what decodes it; ``video`` and
``images`` are the sources that come of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from service.config import HardwareDecode
from service.errors import SourceError, SourceNotFoundError
from service.sources.cameras import open_camera
from service.sources.files import open_path, open_pattern
from service.sources.names import check_letters, exists, redact
from service.sources.network import open_address
from service.types import Frame, SourceProperties

__all__ = ["Source", "exists", "open_source", "redact"]


class Source(Protocol):
    """Frames one after another; a context manager that closes.

    After ``read`` has returned ``None``, ``ended_early`` says whether there should have been more, and
    ``ending`` says it in a sentence for a person (``None`` when all is well).
    """

    @property
    def properties(self) -> SourceProperties: ...
    @property
    def frames_read(self) -> int: ...
    @property
    def ended_early(self) -> bool: ...
    @property
    def ending(self) -> str | None: ...
    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. Raises SourceError."""
        ...

    def close(self) -> None:
        """Release the source; waits for a read in progress. May be called twice."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def open_source(
    source: str | int,
    *,
    open_timeout: float = 10.0,
    read_timeout: float = 10.0,
    allow_network: bool = True,
    source_id: str | None = None,
    host: str | None = None,
    hardware: HardwareDecode = HardwareDecode.OFF,
    enough: tuple[int, int] | None = None,
) -> Source:
    """Open a file, a directory or pattern of images, an address or a device number.

    A path that exists is taken literally, whatever signs are in it. Then come ``rtsp``, ``rtsps``,
    ``http``, ``https`` and ``file`` addresses, device numbers (``0``) and patterns (``frames/%04d.jpg``).
    Timeouts are in seconds. ``source_id`` names the frames' source; default is the redacted ``source``.
    ``host`` is the ``Host`` header for an address whose host ``service.addresses`` has pinned; over HTTP
    nothing may then lead elsewhere, so redirects and playlists fail, and over RTSP no frame comes from
    elsewhere. ``hardware`` is for files and addresses, and so is ``enough``: the (height, width) to which all
    frames will be resized, for which Motion JPEG need not be decoded at its full size.

    Raises SourceNotFoundError, NotAVideoError, NoFramesError, SourceTimeoutError,
    SourceAuthenticationError, AddressRefusedError for what leads elsewhere, or SourceError for anything else.
    """
    text = str(source)
    name = source_id or redact(text)
    check_letters(text, name)
    path = Path(text)
    if text and isinstance(source, str) and exists(path):
        return open_path(path, name, open_timeout, hardware, enough)
    if not text or any(ord(letter) < 32 for letter in text):
        raise SourceNotFoundError(f"{name!r}: not the name of a source; give a file, an address or a device")
    scheme = text.partition("://")[0].lower() if "://" in text else None
    if scheme in ("rtsp", "rtsps", "http", "https"):
        if not allow_network:
            raise SourceError(f"{name}: network addresses are not allowed here; give a file")
        return open_address(text, scheme, name, open_timeout, read_timeout, host, hardware, enough)
    if scheme == "file":
        return open_path(Path(unquote(urlsplit(text).path)), name, open_timeout, hardware, enough)
    if scheme is not None:
        raise SourceError(f"{name}: addresses of this kind cannot be opened; use rtsp, rtsps, http or https")
    if text.isascii() and text.isdigit():
        return open_camera(int(text), name, read_timeout)
    return open_pattern(path, name)
