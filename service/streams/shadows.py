"""Follows labels on trial through a stream: the events that there would be, and whom they would cost what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from service.config import RunSettings
from service.pipeline import Interpreter
from service.streams.messages import Told, Tried, Weighed
from service.types import EndReason, EventMessage, Prediction, Probabilities

WEIGH_EVERY: Final = 50
"""Predictions between two words on what a label would have taken."""


class ShadowWatch:
    """One stretch of sight of one stream; nothing that it tells is announced to subscribers.

    Each label on trial is followed as if it alone had been promoted: in the company of all labels that are
    served, of whose probabilities it takes its share.
    """

    def __init__(self, stream: str, settings: RunSettings, tell: Callable[[Told], None]) -> None:
        self._stream = stream
        self._settings = settings
        self._tell = tell
        self._trials: dict[str, _Trial] = {}

    def update(
        self,
        index: int,
        pts: float,
        labels: tuple[str, ...],
        probabilities: Probabilities,
        trial: Mapping[str, float],
        epoch: float | None,
    ) -> None:
        """Take in a prediction; a label that is no longer on trial is followed no further."""
        for gone in self._trials.keys() - trial.keys():
            self._trials.pop(gone).weigh(self._tell, at_once=True)
        for name, share in trial.items():
            if name not in self._trials:
                self._trials[name] = _Trial(f"{self._stream}~{name}", name, labels, self._settings)
            one = self._trials[name]
            for message in one.update(index, pts, labels, probabilities, share):
                self._tell(Tried(message, epoch))
            one.weigh(self._tell)

    def close(self, reason: EndReason, pts: float, epoch: float | None) -> None:
        """End what goes on."""
        for one in self._trials.values():
            for message in one.close(reason, pts):
                self._tell(Tried(message, epoch))
            one.weigh(self._tell, at_once=True)
        self._trials.clear()


class _Trial:
    def __init__(self, stream: str, name: str, labels: tuple[str, ...], settings: RunSettings) -> None:
        self._name = name
        self._interpreter = Interpreter(stream, (*labels, name), settings)
        self._frames = 0
        self._taken: dict[str, float] = {}

    def update(
        self, index: int, pts: float, labels: tuple[str, ...], probabilities: Probabilities, share: float
    ) -> list[EventMessage]:
        row = np.append(probabilities * (1 - share), share).astype(np.float32)
        messages = self._interpreter.relabel((*labels, self._name))
        messages += self._interpreter.update(Prediction(index, pts, np.clip(row, 0, 1)))
        self._frames += 1
        for place in np.flatnonzero(probabilities * share > 1e-3):
            label = labels[place]
            self._taken[label] = self._taken.get(label, 0.0) + float(probabilities[place] * share)
        return self._own(messages)

    def close(self, reason: EndReason, pts: float) -> list[EventMessage]:
        return self._own(self._interpreter.close(reason, pts))

    def weigh(self, tell: Callable[[Told], None], at_once: bool = False) -> None:
        if self._frames >= (1 if at_once else WEIGH_EVERY):
            tell(Weighed(self._name, self._frames, tuple(sorted(self._taken.items()))))
            self._frames = 0
            self._taken.clear()

    def _own(self, messages: tuple[EventMessage, ...]) -> list[EventMessage]:
        return [message for message in messages if message.event.label == self._name]
