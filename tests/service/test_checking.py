"""What other processes tell is taken for what it claims to be, or not at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.clips import messages as clips
from service.clips.records import VideoFacts
from service.streams import messages as streams
from service.types import EndReason, Event, EventMessage, EventPhase, StreamState

EVENT = Event("cam.1-1", "cam", "red", 1.0, 2.5, 0.9, 0.8, 0.5, EndReason.EXIT)
MESSAGE = EventMessage(3, EventPhase.ENDED, EVENT)
TOLD: list[Any] = [
    streams.Standing(StreamState.LOST, "no frame for 5 s", 2, 4.0),
    streams.Opened(640, 360, 25.0, True),
    streams.Labelled(7, 0.28, 1e9, 0.1, "red", 0.9, (("red", 0.9), ("blue", 0.1)), 2, None),
    streams.Announced(MESSAGE, None),
    streams.Tried(MESSAGE, 1e9),
    streams.Weighed("green", 50, (("red", 0.4),)),
    streams.Measured(25.0, 5.0, None, 100, 75, 20, 5, 1.0, 0.0, 0.0),
    streams.Recorded(None, "a.avi"),
    streams.Watch(True),
    streams.Pace(None),
    clips.Probed(VideoFacts(640, 360, 25.0, None)),
    clips.Working(3),
    clips.Happened(MESSAGE),
    clips.Finished(9, 0.36, None),
    clips.Failed("not a video"),
]
NONSENSE = [None, True, "x\ud800", "abc", 7, 0.5, -1e300, float("nan"), float("inf"), 10**400, [], {}, [[1]]]


def name_of(one: Any) -> str:
    return f"{type(one).__module__.split('.')[1]} {type(one).__name__}"


def places(fields: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where anything lies in a JSON document."""
    parts = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for key, value in parts:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("told", TOLD, ids=name_of)
def test_what_was_told_is_what_is_heard(told: Any) -> None:
    module = streams if "streams" in type(told).__module__ else clips
    assert module.decode(module.encode(told)) == told


@pytest.mark.parametrize("told", TOLD, ids=name_of)
def test_nonsense_gets_no_further(told: Any) -> None:
    """Whatever is put in whatever place: it is refused, or Pydantic too finds it to be what belongs there."""
    module = streams if "streams" in type(told).__module__ else clips
    text = json.dumps([type(told).__name__, asdict(told)])
    oracle = TypeAdapter(type(told))
    refused = 0
    for path in places(json.loads(text)[1]):
        for nonsense in NONSENSE:
            document = json.loads(text)
            part = document[1]
            for step in path[:-1]:
                part = part[step]
            part[path[-1]] = nonsense
            try:
                heard = module.decode(json.dumps(document).encode())
            except (ValueError, KeyError, TypeError):
                refused += 1
                continue
            assert oracle.validate_json(json.dumps(document[1]), strict=True) == heard
    assert refused > len(NONSENSE) / 2


@pytest.mark.parametrize(
    "data", [b'["Standing", 5]', b"[[], {}]", b"[" * 100_000, b"5", b'["Pace", {"rat": 1}]']
)
def test_what_is_no_message_at_all(data: bytes) -> None:
    for module in (streams, clips):
        with pytest.raises((ValueError, KeyError, TypeError)):
            module.decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.sampled_from(sorted({type(told).__name__ for told in TOLD})), JSON)
def test_any_document(name: str, fields: Any) -> None:
    """It is a message, or it fails as whoever listens expects."""
    for module in (streams, clips):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            module.decode(json.dumps([name, fields]).encode())
