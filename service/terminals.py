"""Terminals that are gone: a connection that breaks takes them from a program that has yet to end well."""

from __future__ import annotations

import os
from collections.abc import Iterable


def open_terminals() -> tuple[int, ...]:
    """Those of standard output and standard error that are terminals."""
    return tuple(number for number in (1, 2) if os.isatty(number))


def leave_closed(terminals: Iterable[int]) -> None:
    """Print nowhere instead of to ``terminals`` that were hung up: it would be an error."""
    for number in terminals:
        if not os.isatty(number):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
