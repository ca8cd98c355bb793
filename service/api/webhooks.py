"""Webhooks: how they fare, and the messages that could not be delivered."""

from __future__ import annotations

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException

from service.api.auth import requires
from service.api.schemas import Wire, when
from service.api.settings import Scope
from service.api.state import Services, services

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
Manage = Depends(requires(Scope.MANAGE))
Serving = Annotated[Services, Depends(services)]


class WebhookOut(Wire):
    """Since the start of the service; ``position`` of the event log is done with."""

    name: str
    position: int
    delivered: int
    failed_attempts: int
    dead: int
    last_failure: str | None


class WebhookList(Wire):
    webhooks: list[WebhookOut]


class DeadLetterOut(Wire):
    """A message that was given up; ``id`` was its X-Video-Events-Delivery. ``queued``: tried once more."""

    id: str
    webhook: str
    position: int
    reason: str
    attempts: int
    died_at: datetime
    queued: bool


class DeadLetterList(Wire):
    letters: list[DeadLetterOut]


@router.get("", dependencies=[Manage])
async def list_webhooks(serving: Serving) -> WebhookList:
    """The webhooks that are configured, without their addresses and secrets."""
    return WebhookList(
        webhooks=[
            WebhookOut(
                name=name,
                position=counts.position,
                delivered=counts.delivered,
                failed_attempts=counts.failed,
                dead=counts.dead,
                last_failure=counts.last_failure,
            )
            for name, counts in serving.webhooks.counts.items()
        ]
    )


@router.get("/dead", dependencies=[Manage])
async def list_dead(
    serving: Serving, limit: Annotated[int, Query(ge=1, le=1000, description="Most messages.")] = 100
) -> DeadLetterList:
    """Messages that could not be delivered, the newest first."""
    letters = await asyncio.wrap_future(serving.webhooks.dead_letters(limit))
    return DeadLetterList(
        letters=[
            DeadLetterOut(
                id=letter.id,
                webhook=letter.webhook,
                position=letter.position,
                reason=letter.reason,
                attempts=letter.attempts,
                died_at=when(letter.died_at),
                queued=letter.queued,
            )
            for letter in letters
        ]
    )


@router.post("/dead/{letter_id}", status_code=HTTPStatus.ACCEPTED, dependencies=[Manage])
async def retry(letter_id: str, serving: Serving) -> None:
    """Try to deliver a message once more."""
    if not await asyncio.wrap_future(serving.webhooks.retry_dead(letter_id)):
        raise HTTPException(404, "there is no such message, or its webhook is not configured any more")
