"""Whether the service lives and is ready, and its figures."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from service.api.auth import requires, scopes_of
from service.api.media import content
from service.api.problems import problem
from service.api.settings import Scope
from service.api.state import Services, services
from service.errors import VideoEventsError
from service.event_log import EventQuery

router = APIRouter(tags=["operation"])
DATABASE_SECONDS = 5.0
Serving = Annotated[Services, Depends(services)]


class Health(BaseModel):
    status: str


class About(BaseModel):
    """What a client needs to know to offer choices; ``scopes`` are those of its token."""

    model: str
    labels: list[str]
    max_upload_bytes: int
    scopes: list[Scope]


@router.get("/healthz")
async def healthz() -> Health:
    """The service answers."""
    return Health(status="alive")


@router.get("/readyz", response_model=Health)
async def readyz(serving: Serving) -> Health | JSONResponse:
    """The service can do its work: the model is warm and the database answers. 503 otherwise."""
    if not serving.inference.is_ready:
        trouble = serving.inference.trouble
        return problem(503, f"the model is not ready: {trouble}" if trouble else "the model is being loaded")
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            await asyncio.wrap_future(serving.log.query(EventQuery(limit=0)))
    except (VideoEventsError, TimeoutError):
        return problem(503, "the database does not answer")
    return Health(status="ready")


@router.get("/about", dependencies=[Depends(requires(Scope.VIEW))])
async def about(request: Request, serving: Serving) -> About:
    """The model, its labels, the largest upload, and what the caller may do."""
    provider = serving.clips.provider
    return About(
        model=provider.name,
        labels=list(await asyncio.to_thread(lambda: provider.labels)),
        max_upload_bytes=serving.settings.max_upload_bytes,
        scopes=sorted(scopes_of(request) or ()),
    )


@router.get(
    "/metrics",
    dependencies=[Depends(requires(Scope.VIEW))],
    response_class=Response,
    responses=content(CONTENT_TYPE_LATEST),
)
async def metrics(serving: Serving) -> Response:
    """Prometheus."""
    return Response(generate_latest(serving.metrics.registry), media_type=CONTENT_TYPE_LATEST)
