"""Makes a record of what another process has told, field by field as the record's types say.

Processes that decode a stranger's video tell the service what they found, and one that was taken over may
tell anything: what is of the wrong kind here would be met by whoever shows, stores or adds it up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from itertools import repeat
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

LARGEST_NUMBER: Final = 1e12
"""Of seconds or of anything else that is told."""

_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def decoded(data: bytes, kinds: Mapping[str, type[Record]]) -> Record:
    """The record that the JSON list [name of one of ``kinds``, fields] tells of.

    Raises ValueError, KeyError or TypeError for anything else.
    """
    try:
        name, fields = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return checked(kinds[name], fields)


def checked(kind: type[Record], fields: object) -> Record:
    """A ``kind`` (a dataclass) of ``fields``, as ``dataclasses.asdict`` and JSON have made them.

    Raises ValueError, KeyError or TypeError for anything else.
    """
    hints = _hints(kind)
    if not isinstance(fields, Mapping):
        raise TypeError(f"not the fields of {kind.__name__}: {fields!r}")
    if strangers := set(fields) - hints.keys():
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(map(str, strangers)))}")
    return kind(**{name: _value(hint, fields[name]) for name, hint in hints.items()})


def _value(hint: Any, value: Any) -> Any:
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value)
    if get_origin(hint) is UnionType:
        (wanted,) = (one for one in get_args(hint) if one is not NoneType)
        return None if value is None else _value(wanted, value)
    if hint in (int, float):
        return _number(hint, value)
    if isinstance(hint, type) and is_dataclass(hint):
        return checked(hint, value)
    if not isinstance(value, bool if hint is bool else str):
        raise TypeError(f"not a {hint.__name__}: {value!r}")
    if isinstance(value, str):
        value.encode()  # half a surrogate pair can be neither stored nor sent
    return hint(value)


def _tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"not a list: {value!r}")
    if kinds[-1] is Ellipsis:
        return tuple(map(_value, repeat(kinds[0]), value))
    return tuple(_value(kind, one) for kind, one in zip(kinds, value, strict=True))


def _number(kind: type[int] | type[float], value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        raise TypeError(f"not a {kind.__name__}: {value!r}")
    if not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"no number that can be meant: {value!r}")
    return kind(value)
