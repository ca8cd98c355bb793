"""The description of the API at ``/openapi.json``: of HTTP as FastAPI makes it, of WebSockets their messages.

OpenAPI has no place for a WebSocket, but a client of one needs the fields and units of what it will get.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service.api.schemas import GapOut, HelloOut, MessageOut
from service.api.stream_schemas import LabelOut, MissedOut, RemovedOut, SnapshotOut, StateChangeOut

TEXT: Final = """Errors are problem details (RFC 9457); times of the day are RFC 3339, in UTC.

Two paths are WebSockets, whose messages are JSON and told apart by `type`:
`/events?after=&stream=&label=` sends `HelloOut`, then `MessageOut` and, where messages are no longer kept,
`GapOut`; `/streams/{name}/labels?mode=latest|lossless&rate=` sends `SnapshotOut`, then `LabelOut`,
`StateChangeOut`, in the mode `lossless` `MissedOut`, and last `RemovedOut`.
"""
MESSAGES: Final = (HelloOut, MessageOut, GapOut, SnapshotOut, LabelOut, StateChangeOut, MissedOut, RemovedOut)


class DescribedApi(FastAPI):
    """Adds the messages of the WebSockets to the schemas, and says whether a token has to be given."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            _, told = models_json_schema(
                [(message, "serialization") for message in MESSAGES],
                ref_template="#/components/schemas/{model}",
            )
            description = super().openapi()
            schemas = description["components"]["schemas"]
            schemas |= {name: schema for name, schema in told["$defs"].items() if name not in schemas}
            if self.state.gatekeeper.is_open:
                _make_tokens_optional(description)
        return super().openapi()


def _make_tokens_optional(description: dict[str, Any]) -> None:
    for calls in description["paths"].values():
        for call in calls.values():
            if "security" in call:
                call["security"] = [*call["security"], {}]
