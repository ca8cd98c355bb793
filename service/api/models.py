"""The served model and what it learns: add a label on trial, compare, promote, drop."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.api import example_form
from service.api.auth import requires
from service.api.model_schemas import ComparisonOut, LabelList, LearnedLabelOut, ModelList, ModelOut
from service.api.settings import Scope
from service.api.state import Services, services
from service.errors import LabelNotFoundError, StreamNotFoundError
from service.learning import intake
from service.learning.examples import FROM_RANGES, Example
from service.learning.trainer import Trainer

router = APIRouter(prefix="/models", tags=["models"])
View = Depends(requires(Scope.VIEW))
Manage = Depends(requires(Scope.MANAGE))
Serving = Annotated[Services, Depends(services)]


@router.get("", dependencies=[View])
async def list_models(serving: Serving) -> ModelList:
    """The models that are served: one."""
    return ModelList(models=[await asyncio.to_thread(ModelOut.of, serving.trainer)])


@router.get("/{name}/labels", dependencies=[View])
async def list_labels(name: str, serving: Serving) -> LabelList:
    """All labels of a model: those that it was trained for, those learned, those on trial."""
    return await asyncio.to_thread(LabelList.of, _trainer(serving, name))


@router.post(
    "/{name}/labels",
    status_code=HTTPStatus.CREATED,
    dependencies=[Manage],
    openapi_extra=example_form.FORM,
)
async def learn(name: str, request: Request, serving: Serving, response: Response) -> LearnedLabelOut:
    """Learn a label from example images, or from time ranges of a recording; it is on trial then.

    A label on trial is judged on every classified frame of all streams that look for all labels; its events
    are kept for the comparison and announced to nobody.

    409 the name is taken, 413 too large, 422 examples that will not do.
    """
    trainer, settings = _trainer(serving, name), serving.settings
    async with serving.lessons:
        await asyncio.to_thread(trainer.model.check_reference)
        form = await example_form.receive(
            request, settings.upload_idle_seconds, serving.stopping, settings.max_example_bytes
        )
        await asyncio.to_thread(trainer.check, form.label, len(form.images) or FROM_RANGES, form.force)
        async with serving.probes:
            examples = await asyncio.to_thread(_examples, serving, form)
        label = await asyncio.to_thread(trainer.learn, form.label, examples, force=form.force)
    shown = LearnedLabelOut.of(label, name)
    response.headers["Location"] = shown.links.self
    return shown


@router.get("/{name}/labels/{label}", dependencies=[View])
async def show(name: str, label: str, serving: Serving) -> LearnedLabelOut:
    """A learned label, with the comparison: how often it would have fired, where, at whose cost."""
    trainer = _trainer(serving, name)
    found, comparison = await asyncio.to_thread(trainer.compare, label)
    return LearnedLabelOut.of(found, name, ComparisonOut.of(comparison, trainer.model.name))


@router.post("/{name}/labels/{label}/promote", dependencies=[Manage])
async def promote(name: str, label: str, serving: Serving) -> LearnedLabelOut:
    """Have a label announced from now on, at once and on all streams; none of them pauses."""
    found = await asyncio.to_thread(_trainer(serving, name).promote, label)
    return LearnedLabelOut.of(found, name)


@router.delete("/{name}/labels/{label}", status_code=HTTPStatus.NO_CONTENT, dependencies=[Manage])
async def drop(name: str, label: str, serving: Serving) -> None:
    """Forget a learned label, on trial or served, with its examples and its trial."""
    await asyncio.to_thread(_trainer(serving, name).remove, label)


def _trainer(serving: Services, name: str) -> Trainer:
    model = serving.trainer.model
    if name != model.short_name:
        raise LabelNotFoundError(f"no model of this name is served; there is {model.short_name!r}")
    return serving.trainer


def _examples(serving: Services, form: example_form.ExampleForm) -> list[Example]:
    if form.images:
        return intake.take_images(form.images, serving.trainer.go_on)
    for file in serving.streams.recordings(form.stream):
        if file.path.name == form.recording:
            return intake.take_frames(file.path, form.ranges, serving.trainer.go_on)
    raise StreamNotFoundError("there is no recording of this name")
