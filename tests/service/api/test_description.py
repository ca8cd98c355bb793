"""What a developer finds in the description of the API, of which clients are generated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.api.app import create_app
from service.api.settings import ServeSettings
from service.errors import OverloadedError
from service.smoothing import LONGEST_WINDOW
from tests.service.api.fakes import ColourProvider


@pytest.fixture(scope="module")
def description() -> Any:
    return create_app(ServeSettings(), ColourProvider()).openapi()


def test_messages_of_the_websockets_are_described(description: Any) -> None:
    """OpenAPI has no place for a WebSocket: what it sends would be left to be guessed."""
    schemas = description["components"]["schemas"]
    kinds = {schema["properties"]["type"]["const"] for schema in schemas.values() if is_message(schema)}
    assert kinds == {"hello", "event", "gap", "snapshot", "label", "state", "missed", "removed"}
    assert all(
        f"`{name}`" in description["info"]["description"] for name in schemas if is_message(schemas[name])
    )
    named = {text.rpartition("/")[2] for text in references(schemas)}
    assert named <= schemas.keys()


def test_every_choice_and_figure_says_what_it_is(description: Any) -> None:
    """With its unit: a number alone does not tell seconds from frames."""
    schemas, paths = description["components"]["schemas"], description["paths"]
    silent = [
        f"{path} {one['name']}"
        for path, calls in paths.items()
        for call in calls.values()
        for one in call.get("parameters", ())
        if one["in"] == "query"
        and kinds_of(one["schema"]) & {"number", "integer"}
        and "description" not in one
    ]
    silent += [
        f"{name}.{field}"
        for name in (
            "StreamOptionsIn",
            "EventOut",
            "ClipOut",
            "StreamOut",
            "LabelOut",
            "StateChangeOut",
            "HourOut",
        )
        for field, one in schemas[name]["properties"].items()
        if kinds_of(one) & {"number", "integer"} and "description" not in one
    ]
    assert not silent


def test_the_longest_window_is_the_one_that_is_taken(description: Any) -> None:
    """A client that keeps to the description is not refused."""
    assert (
        description["components"]["schemas"]["StreamOptionsIn"]["properties"]["window"]["maximum"]
        == LONGEST_WINDOW
    )


def test_what_is_wrong_can_be_read_by_a_program(description: Any) -> None:
    """A client that is told of its mistakes, or of what would fit, knows under which names."""
    answer = description["paths"]["/streams"]["post"]["responses"]["4XX"]
    members = answer["content"]["application/problem+json"]["schema"]["properties"]
    assert members["errors"]["items"]["properties"].keys() == {"where", "what"}
    figures = OverloadedError("", capacity=1, promised=1, asked=1, fits=0, waiting_helps=True).figures
    assert {members[name]["type"] for name in figures} == {"number"}


def is_message(schema: Any) -> bool:
    return "const" in schema.get("properties", {}).get("type", {})


def kinds_of(schema: Any) -> set[str]:
    return {one.get("type", "") for one in (schema, *schema.get("anyOf", ()))}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from ([part["$ref"]] if "$ref" in part else [])
        part = list(part.values())
    for one in part if isinstance(part, list) else ():
        yield from references(one)
