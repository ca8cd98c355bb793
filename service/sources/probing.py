"""Why a source does not open: looks at the bytes of a file, or asks a server once.

OpenCV only ever says that a source did not open. These functions find the reason and return it as the
typed error to raise; they never decode anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from service.addresses import DEFAULT_PORTS
from service.errors import (
    NotAVideoError,
    SourceAuthenticationError,
    SourceError,
    SourceNotFoundError,
    SourceTimeoutError,
)

_SOUND_MAGIC = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9", b"\x0bw", b"fLaC", b"OggS")
_PLAYLIST_MAGIC = ("#EXTM3U", "ffconcat", "[playlist]", "v=0", "<?xml", "<MPD", "[Reference]", "<asx")


def refusal_of_file(path: Path, name: str) -> SourceError | None:
    """Return why a regular file is refused before any decoder sees it, or None to go on.

    Text is never video, and it is how playlists make a decoder open other files and addresses.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except PermissionError:
        return SourceError(f"{name}: permission to read this file is denied")
    except OSError as error:
        return SourceError(f"{name}: this file cannot be read ({error.strerror})")
    if not head:
        return NotAVideoError(f"{name}: the file is empty (0 bytes); was it copied completely?")
    if head.startswith(b"version https://git-lfs"):
        return NotAVideoError(
            f"{name}: this is a Git LFS pointer, not the video itself; run `git lfs pull` to fetch it"
        )
    text = head.decode("utf-8", errors="ignore").lstrip("\ufeff \t\r\n")
    if text.lower().startswith(tuple(magic.lower() for magic in _PLAYLIST_MAGIC)):
        return NotAVideoError(
            f"{name}: this is a playlist or manifest, which names other files; give the video file itself"
        )
    if _is_text(head):
        return NotAVideoError(f"{name}: this is text, not video")
    return None


def sound_alone(name: str) -> SourceError:
    """What to raise for a file that holds sound and no video."""
    return NotAVideoError(f"{name}: the file holds sound but no video")


def reason_of_file(path: Path, name: str) -> SourceError:
    """Return why a regular file that is not text could not be opened."""
    if _holds_only_sound(path):
        return sound_alone(name)
    return NotAVideoError(
        f"{name}: not a video that can be opened ({path.stat().st_size} bytes); it may be damaged, cut off "
        "before its index, or of an unknown format; does a video player open it?"
    )


def reason_of_address(address: str, name: str, timeout: float) -> SourceError:
    """Ask the server of an RTSP or HTTP address once and return why it could not be opened."""
    try:
        status = _ask(urlsplit(address), timeout)
    except TimeoutError:
        return SourceTimeoutError(f"{name}: no answer within {timeout:g} s; is the address right, is it up?")
    except socket.gaierror:
        return SourceNotFoundError(f"{name}: there is no host of this name; check the address")
    except ConnectionRefusedError:
        return SourceNotFoundError(f"{name}: nothing listens there; check host and port, is it running?")
    except (OSError, ValueError) as error:
        return SourceError(f"{name}: cannot be reached ({error})")
    if status in (401, 403, 407):
        return SourceAuthenticationError(
            f"{name}: access denied (status {status}); check user name and password "
            f"({address.partition(':')[0]}://USER:PASSWORD@HOST/...)"
        )
    if status in (404, 410, 454):
        return SourceNotFoundError(
            f"{name}: the server knows no such stream (status {status}); check the path"
        )
    if status >= 300:
        return SourceError(f"{name}: the server refused with status {status}")
    return NotAVideoError(f"{name}: the server answers, but not with video that can be opened")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < 4096:
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)


def _holds_only_sound(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head.startswith(_SOUND_MAGIC) or head[8:] in (b"WAVE", b"AIFF", b"AIFC")


def _ask(url: SplitResult, timeout: float) -> int:
    """Return the status of the server's answer, having answered one challenge if the URL can."""
    first, challenges = _request(url, timeout, authorization=None)
    if first != 401 or url.username is None:
        return first
    authorization = _authorization(url, challenges)
    return _request(url, timeout, authorization)[0] if authorization else first


def _request(url: SplitResult, timeout: float, authorization: str | None) -> tuple[int, list[str]]:
    host, port = url.hostname or "", url.port or DEFAULT_PORTS[url.scheme]
    if url.scheme.startswith("rtsp"):
        lines = [f"DESCRIBE {_target(url)} RTSP/1.0", "CSeq: 1", "Accept: application/sdp"]
    else:
        lines = [f"GET {_target(url)} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    with socket.create_connection((host, port), timeout) as plain:
        connection = plain
        if url.scheme in ("rtsps", "https"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(plain, server_hostname=host)
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < 65536 and (part := connection.recv(4096)):
            answer += part
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    match = re.match(r"(?:RTSP|HTTP)/\d\.\d (\d{3})", head[0])
    if not match:
        raise ValueError("the server speaks another protocol")
    return int(match[1]), [
        line.partition(":")[2].strip() for line in head if line.lower().startswith("www-authenticate:")
    ]


def _target(url: SplitResult) -> str:
    if url.scheme.startswith("rtsp"):
        return url._replace(netloc=url.netloc.rpartition("@")[2], fragment="").geturl()
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _authorization(url: SplitResult, challenges: list[str]) -> str | None:
    """Return an answer to a Basic or Digest (RFC 2069, MD5) challenge."""
    user, password = unquote(url.username or ""), unquote(url.password or "")
    for challenge in challenges:
        if challenge.lower().startswith("digest"):
            fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
            realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
            method = "DESCRIBE" if url.scheme.startswith("rtsp") else "GET"
            secret = _md5(f"{user}:{realm}:{password}")
            answer = _md5(f"{secret}:{nonce}:{_md5(f'{method}:{_target(url)}')}")
            return (
                f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{_target(url)}", '
                f'response="{answer}"'
            )
        if challenge.lower().startswith("basic"):
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
