"""With what the program ends."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
PARTLY_DECODED: Final = 3
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141
"""As a shell says of a program that SIGPIPE has ended."""
