"""Paths in answers, as the client has to ask for them: below the path that a proxy serves this under."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

ROOT: Final = ContextVar("root", default="")
"""ASGI's ``root_path`` of the request that is answered, as ``/video``; empty where there is none."""


def link(path: str) -> str:
    """The path, which begins with a slash, below ``ROOT``."""
    return ROOT.get() + path
