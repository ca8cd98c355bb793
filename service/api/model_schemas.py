"""What goes over the wire about models and learned labels."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from urllib.parse import quote

from service.api.links import link
from service.api.schemas import EventOut, Wire, when
from service.learning.store import LabelState, LearnedLabel
from service.learning.trainer import Trainer
from service.learning.trials import Comparison, StreamTrial


class LabelLinks(Wire):
    self: str
    promote: str

    @classmethod
    def of(cls, model: str, label: str) -> LabelLinks:
        base = link(f"/models/{quote(model, safe='')}/labels/{quote(label, safe='')}")
        return cls.model_validate({"self": base, "promote": f"{base}/promote"})


class StreamTrialOut(Wire):
    """One stream: ``frames`` judged, ``events`` that there would have been.

    ``taken`` is, by known label, the mean probability per frame that it would have lost.
    """

    stream: str
    frames: int
    events: int
    taken: dict[str, float]

    @classmethod
    def of(cls, trial: StreamTrial) -> Self:
        frames = max(1, trial.frames)
        taken = {label: round(share / frames, 4) for label, share in trial.taken.items()}
        return cls(stream=trial.stream, frames=trial.frames, events=trial.events, taken=taken)


class ComparisonOut(Wire):
    """What a label has done while it was on trial; ``newest`` are its last events, which nobody was told."""

    frames: int
    events: int
    streams: list[StreamTrialOut]
    newest: list[EventOut]

    @classmethod
    def of(cls, comparison: Comparison, model: str) -> Self:
        return cls(
            frames=sum(trial.frames for trial in comparison.streams),
            events=sum(trial.events for trial in comparison.streams),
            streams=[StreamTrialOut.of(trial) for trial in comparison.streams],
            newest=[EventOut.of(trial.event, model, trial.epoch) for trial in comparison.newest],
        )


class LearnedLabelOut(Wire):
    """``state`` is ``shadow`` while the label is on trial, ``served`` afterwards.

    ``learned_with`` is the model that its features are of: name, version and what tells its weights from
    others. ``warnings`` are those given when it was learned.
    """

    name: str
    state: LabelState
    examples: int
    created_at: datetime
    learned_with: str
    warnings: list[str]
    links: LabelLinks
    comparison: ComparisonOut | None = None

    @classmethod
    def of(cls, label: LearnedLabel, model: str, comparison: ComparisonOut | None = None) -> Self:
        return cls(
            name=label.name,
            state=label.state,
            examples=label.examples,
            created_at=when(label.created_at),
            learned_with=label.model,
            warnings=list(label.warnings),
            links=LabelLinks.of(model, label.name),
            comparison=comparison,
        )


class LabelList(Wire):
    """``trained`` are the labels that the network was trained for."""

    trained: list[str]
    learned: list[LearnedLabelOut]

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        name = trainer.model.short_name
        learned = [LearnedLabelOut.of(label, name) for label in trainer.catalogue().labels]
        return cls(trained=list(trainer.model.classes), learned=learned)


class ModelOut(Wire):
    """``labels`` are all that may be announced; ``revision`` rises whenever learned labels change."""

    name: str
    version: str
    labels: list[str]
    revision: int

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        model = trainer.model
        return cls(
            name=model.short_name,
            version=model.name.removeprefix(model.short_name).strip(),
            labels=list(model.labels),
            revision=trainer.catalogue().revision,
        )


class ModelList(Wire):
    models: list[ModelOut]
