"""Requests made from the OpenAPI description, sensible and senseless ones, against the real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.api.conftest import SCENES, make_clip, serving, until
from tests.service.live import ColourModel

pytestmark = pytest.mark.timeout(900)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a service that has a clip, a stream and events, so that requests find something."""
    folder = tmp_path_factory.mktemp("openapi")
    film, short = make_clip(folder / "door.avi", SCENES * 200), make_clip(folder / "short.avi")
    with serving(folder / "data", ColourModel(), streams={"door": str(film)}) as served:
        clip = served.upload(short).json()["id"]
        served.wait_for(clip, "done")
        until(lambda: served.client.get("/streams/door/events").json()["messages"])
        yield schemathesis.openapi.from_url(f"{served.url}/openapi.json"), {"name": "door", "clip_id": clip}


def test_nothing_that_can_be_asked_is_a_fault_of_ours(description: Any) -> None:
    """No request makes a server error, and every answer is what the description promises."""
    schema, known = description
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    operations.sort(key=lambda operation: operation.method == "delete")
    failures = [failure for one in operations if (failure := failure_of(one, known))]
    assert not failures, "\n\n".join(failures)


def failure_of(operation: Any, known: dict[str, str]) -> str | None:
    """What goes wrong with the smallest request for which anything does, if one is found.

    Every other request is for something that is ``known`` to the service.
    """
    endless = operation.path.endswith(".mjpeg")

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(case=operation.as_strategy(), is_known=strategies.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known and not endless:
            names = case.path_parameters or {}
            case.path_parameters = names | {name: known[name] for name in names if name in known}
        case.call_and_validate(checks=CHECKS)

    try:
        ask()
    except (Exception, BaseExceptionGroup) as error:
        return f"{operation.label}: {error}"
    return None
