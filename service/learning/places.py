"""Where learned labels are kept unless told otherwise: with the user's data, never beside the program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "VIDEO_EVENTS_LEARNED"


def user_folder() -> Path:
    """The folder that the environment names, or one after the XDG Base Directory Specification 0.8."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    given = Path(os.environ.get("XDG_DATA_HOME", ""))
    base = given if given.is_absolute() else Path.home() / ".local" / "share"
    return base / "video-events" / "learned"
