"""What the service tells on standard error, alike in all processes: lines for people or JSON for programs."""

from __future__ import annotations

import logging
import multiprocessing
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

TEXT: Final = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
FIELDS: Final = ("levelname", "processName", "process", "name", "message")
NAMES: Final = {"levelname": "level", "processName": "process_name", "name": "logger"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``level`` is the name of one of ``logging``'s levels."""

    level: str = "WARNING"
    format: LogFormat = LogFormat.TEXT


_chosen: LogSettings | None = None


def set_up(settings: LogSettings) -> None:
    """Have this process log so, and those that it starts from here on."""
    global _chosen
    _chosen = settings
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(TEXT) if settings.format is LogFormat.TEXT else _json())
    logging.basicConfig(level=settings.level, handlers=[handler])


def chosen() -> LogSettings | None:
    """For processes that are started: None where nobody has chosen."""
    return _chosen


def name_process(name: str) -> None:
    """What this process is called in its lines."""
    multiprocessing.current_process().name = name


class _Lines(logging.Formatter):
    """One line for a message: what somebody else has sent cannot look like another one."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Local time and its offset, without which the hour is in doubt when the clocks go back."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        record.message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], record.message)
        return super().formatMessage(record)


def _json() -> logging.Formatter:
    """An object in a line: ``timestamp`` in UTC, ``FIELDS``, and what a message has as ``extra``."""
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(FIELDS, rename_fields=NAMES, timestamp=True, json_ensure_ascii=False)
