"""What a source is called: by a person, in messages, and on disk."""

from __future__ import annotations

import re
from pathlib import Path

from service.errors import SourceError


def redact(source: str) -> str:
    """Return ``source`` without credentials: for messages, logs and file names."""
    if "://" not in source:
        return source
    scheme, _, rest = source.partition("://")
    rest = re.sub(r"^[^/?#]*@", "***@", rest)
    # A password with a slash in it: what looks like a port is not a number, and an @ follows later.
    rest = re.sub(r"^(?!\*\*\*@)[^/?#@]*:(?!\d*(?:[/?#]|$)).*@", "***@", rest)
    rest = re.sub(r"\?.*", "?***", rest, flags=re.DOTALL)
    return f"{scheme}://{rest}"


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; no address is too long to be asked about."""
    try:
        return path.exists()
    except OSError:
        return False


def check_letters(text: str, name: str) -> None:
    """Raise SourceError for a name that is not UTF-8: OpenCV would end the process."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{name!r}: a name that is not UTF-8 cannot be opened; rename it") from error
