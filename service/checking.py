"""Makes a record of what another process has told, field by field as the record's types say.

Processes that decode a stranger's video tell the service what they found, and one that was taken over may
tell anything: what is of the wrong kind here would be met by whoever shows, stores or adds it up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
Check = Callable[[Any], Any]
"""Returns what it is given as what it is to be, or raises ValueError, KeyError or TypeError."""

LARGEST_NUMBER: Final = 1e12
"""Of seconds or of anything else that is told."""


def decoded(data: bytes, kinds: Mapping[str, type[Record]]) -> Record:
    """The record that the JSON list [name of one of ``kinds``, fields] tells of.

    The fields are as ``dataclasses.asdict`` has made them. Raises ValueError, KeyError or TypeError for
    anything else.
    """
    try:
        name, fields = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return checked(kinds[name], fields)


def checked(kind: type[Record], fields: Any) -> Record:
    """The record of these ``fields``, as ``dataclasses.asdict`` has made them; raises as ``decoded`` does."""
    hint: Any = kind
    record: Record = _check(hint)(fields)
    return record


@cache
def _check(hint: Any) -> Check:
    """The check for one type, of those that records are made of."""
    parts = get_args(hint)
    if get_origin(hint) is UnionType:
        (wanted,) = (part for part in parts if part is not NoneType)
        check = _check(wanted)
        return lambda value: None if value is None else check(value)
    if get_origin(hint) is tuple:
        return _each(_check(parts[0])) if parts[-1] is Ellipsis else _in_turn(tuple(map(_check, parts)))
    if hint in (int, float):
        return _number(hint)
    if is_dataclass(hint):
        return _fields(hint)
    return _word(hint)


def _fields(kind: Any) -> Check:
    checks = {name: _check(hint) for name, hint in get_type_hints(kind).items()}

    def check(value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() - checks.keys():
            raise TypeError(f"not the fields of {kind.__name__}: {value!r}")
        return kind(**{name: check(value[name]) for name, check in checks.items()})

    return check


def _each(check: Check) -> Check:
    return lambda value: tuple(map(check, _list(value)))


def _in_turn(checks: tuple[Check, ...]) -> Check:
    return lambda value: tuple(check(one) for check, one in zip(checks, _list(value), strict=True))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"not a list: {value!r}")
    return value


def _number(kind: type[int] | type[float]) -> Check:
    def check(value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            raise TypeError(f"not a {kind.__name__}: {value!r}")
        if not abs(value) <= LARGEST_NUMBER:
            raise ValueError(f"no number that can be meant: {value!r}")
        return kind(value)

    return check


def _word(kind: Any) -> Check:
    """For a text, one of several (``StrEnum``), or yes and no."""

    def check(value: Any) -> Any:
        if not isinstance(value, bool if kind is bool else str):
            raise TypeError(f"not a {kind.__name__}: {value!r}")
        if isinstance(value, str):
            value.encode()  # half a surrogate pair can be neither stored nor sent
        return kind(value)

    return check
