"""The learned labels of the model that a service serves: learns, promotes, drops, and keeps their trials."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from service.errors import InferenceError, LearningError, StoppingError, StorageError
from service.learning.engine import LearnedModel
from service.learning.examples import Example
from service.learning.lessons import check_count, check_name, embed_files, learn, study
from service.learning.store import Catalogue, LabelState, LearnedLabel
from service.learning.trials import Comparison, TrialLog
from service.streams.messages import Tried, Weighed

Floats = npt.NDArray[np.float32]
RENEW_AGAIN: Final = 5.0
"""Seconds until stored examples are tried again that could not be embedded."""

logger = logging.getLogger(__name__)


class FeatureSource(Protocol):
    """A connection to the network that gives features."""

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]: ...

    def close(self) -> None: ...


class Trainer:
    """Safe to call from several threads; all calls wait. ``connect`` opens a connection to the network; it is
    given a function to call while it waits, which raises StoppingError after ``close``.

    What was learned with another version of the model is embedded anew in the background; until that is
    done, these labels are known but not served.
    """

    def __init__(
        self,
        model: LearnedModel,
        connect: Callable[[Callable[[], None]], FeatureSource],
        trials: TrialLog,
    ) -> None:
        self.model = model
        self._connect = connect
        self._trials = trials
        self._learning = threading.Lock()
        self._closing = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="renew labels", daemon=True)

    def start(self) -> None:
        self._renewing.start()

    def close(self) -> None:
        """End all that waits for the network; what goes on in the background is taken up by the next life."""
        self._closing.set()

    def go_on(self) -> None:
        """Raises StoppingError once this is closed."""
        if self._closing.is_set():
            raise StoppingError("the service is being stopped; teach it when it is back")

    def catalogue(self) -> Catalogue:
        """All learned labels, as of when they could last be read."""
        return self.model.store.newest()

    def check(self, name: str, count: int, force: bool) -> None:
        """Refuse early what cannot be learned: for errors see ``learn``."""
        self.model.check_reference()
        learned = (label.name for label in self.model.store.load().labels)
        check_name(name, (*self.model.classes, *learned))
        check_count(count, force)

    def learn(self, name: str, examples: Sequence[Example], *, force: bool = False) -> LearnedLabel:
        """Learn a label, which is on trial then.

        Raises LearningError, LabelExistsError, InferenceError, StorageError or StoppingError; nothing is
        left then.
        """
        self.check(name, len(examples), force)
        with self._learning:
            self.go_on()
            source = self._connect(self.go_on)
            try:
                lesson = study(examples, self.model.classes, self.model, _with_features(source))
            finally:
                source.close()
            return learn(lesson, name, LabelState.SHADOW, self.model.network, self.model.store)

    def promote(self, name: str) -> LearnedLabel:
        """Announce the events of a label from now on. Raises LabelNotFoundError, StorageError."""
        return self.model.store.promote(name)

    def remove(self, name: str) -> None:
        """Forget a label, on trial or served. Raises LabelNotFoundError, StorageError."""
        label = self.model.store.remove(name)
        self._trials.forget(label.id).result()

    def compare(self, name: str) -> tuple[LearnedLabel, Comparison]:
        """A label and its trial. Raises LabelNotFoundError, StorageError."""
        label = self.catalogue().find(name)
        found = self._trials.compare(label.id).result()
        newest = (replace(one, event=replace(one.event, label=name)) for one in found.newest)
        return label, replace(found, newest=tuple(newest))

    def hear(self, stream: str, told: Tried | Weighed) -> Future[None] | None:
        """Note what the process of a stream tells of a label on trial; None if that has been dropped.

        Nothing is waited for; the future raises StorageError.
        """
        name = told.label if isinstance(told, Weighed) else told.message.event.label
        known = {label.name: label.id for label in self.catalogue().labels}
        if name not in known:
            return None
        if isinstance(told, Weighed):
            return self._trials.weigh(known[name], stream, told.frames, told.taken)
        event = replace(told.message.event, stream=stream)
        return self._trials.note(known[name], told.message.phase, event, told.epoch)

    def _renew(self) -> None:
        store, model, told = self.model.store, self.model, ""
        while not self._closing.is_set():
            try:
                if any(label.model != model.network for label in store.load().labels):
                    names = self._embed_anew()
                    logger.info("learned labels follow to %s: %s", model.network, ", ".join(names) or "none")
                return
            except LearningError as error:
                logger.error("learned labels of another version are not served: %s", error)
                return
            except (InferenceError, StorageError) as error:
                if str(error) != told:
                    logger.warning("learned labels of another version wait: %s", error)
                told = str(error)
                self._closing.wait(RENEW_AGAIN)
            except StoppingError:
                return

    def _embed_anew(self) -> tuple[str, ...]:
        self.model.check_reference()
        source = self._connect(self.go_on)
        embed = _with_features(source)
        try:
            return self.model.store.renew(
                self.model.network, lambda paths: embed_files(paths, self.model, embed)
            )
        finally:
            source.close()


def _with_features(source: FeatureSource) -> Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]:
    def embed(inputs: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        known, features = source.embed(inputs)
        if not features.shape[1]:
            raise LearningError("this model gives no features of single frames: it cannot learn labels")
        return known, features

    return embed
