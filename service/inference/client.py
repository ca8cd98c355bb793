"""A stream's end of the seam: a ``Classifier`` whose network runs in the inference process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from service.errors import InferenceLostError
from service.inference.queueing import Priority
from service.inference.statistics import InferenceStatistics
from service.inference.wire import (
    MESSAGE_BYTES,
    Answer,
    Hello,
    InferenceAddress,
    Purpose,
    Request,
    Roster,
    SharedSlots,
    Welcome,
)
from service.types import Image, Judgement, Preprocessor

WAIT_STEP: Final = 0.2
"""Seconds between two calls of ``while_waiting``."""
MOST_ATTEMPTS: Final = 0xFFFF
"""That can be told of; there may be more."""
RETRY_STEP: Final = 0.05
"""Seconds between two attempts to connect; rarely needed, as connections queue at the listener."""


class RemoteClassifier:
    """A ``Classifier`` that has its inputs classified by an inference process. For use from one thread.

    If that process dies, ``classify`` notices at once and waits for the next one, up to ``timeout``
    seconds in all; it hands in the same inputs again, so nothing is lost. The window of a clip model then
    begins anew, as it lies with that process.

    ``preprocessor`` is the model's own, so that resizing happens here. ``slots`` inputs go over at once, if
    the server grants so many. ``while_waiting`` is called every 0.2 s of waiting, to give a sign of life;
    what it raises ends the wait. A client ``with_features`` ranks with the uploads, whatever its
    ``priority``.
    """

    def __init__(
        self,
        address: InferenceAddress,
        preprocessor: Preprocessor,
        *,
        priority: Priority = Priority.LIVE,
        slots: int = 8,
        timeout: float = 30.0,
        while_waiting: Callable[[], None] = lambda: None,
        with_features: bool = False,
    ) -> None:
        """Connect, which waits until the engine is ready.

        Raises InferenceLostError after ``timeout`` seconds, InferenceFullError if there is no room.
        """
        self._address = address
        self._preprocessor = preprocessor
        self._hello = Hello(Purpose.FEATURES if with_features else Purpose(priority), slots)
        self._timeout = timeout
        self._while_waiting = while_waiting
        self._number = 0
        self._is_fresh = True
        self._link: _Link | None = self._connect(self._deadline())
        self._model = self._link.welcome
        self._roster = self._model.roster

    @property
    def views(self) -> int:
        return self._preprocessor.views

    @property
    def labels(self) -> tuple[str, ...]:
        """As of the last answer; labels may have come or gone by the next."""
        return self._roster.labels

    @property
    def frames(self) -> int:
        return self._model.frames

    def model_input(self, image: Image, view: int = 0) -> Image:
        return self._preprocessor.model_input(image, view)

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return (N, labels) probabilities for (N, h, w, 3) model inputs; for errors see ``judge``."""
        return self.judge(inputs).probabilities

    def judge(self, inputs: npt.NDArray[np.uint8]) -> Judgement:
        """Return what is said of (N, h, w, 3) model inputs, all of them by the same labels.

        Raises InferenceLostError if there is no answer within the timeout or the model has changed,
        InferenceFullError if others took the place of this client, ValueError for a wrong shape.
        """
        rows, _ = self._answers(inputs)
        labels, shadows = self._roster.labels, self._roster.shadows
        return Judgement(
            labels, rows[:, : len(labels)], shadows, rows[:, len(labels) : len(labels) + len(shadows)]
        )

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (N, labels) probabilities and (N, width) features; only of a client ``with_features``."""
        rows, features = self._answers(inputs)
        return rows[:, : len(self._roster.labels)], features

    def _answers(
        self, inputs: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if inputs.dtype != np.uint8 or inputs.shape[1:] != self._model.input_shape:
            raise ValueError(
                f"expected (N, {', '.join(map(str, self._model.input_shape))}) uint8, "
                f"got {inputs.shape} {inputs.dtype}"
            )
        results = np.zeros((len(inputs), self._model.columns), np.float32)
        features = np.zeros((len(inputs), self._model.width), np.float32)
        deadline = self._deadline()
        done, attempt = 0, 1
        while done < len(inputs):
            try:
                link = self._link = self._link or self._connect(deadline)
                self._check_model(link.welcome)
                part = inputs[done : done + link.welcome.slots]
                roster = self._exchange(link, part, attempt, deadline)
                results[done : done + len(part)] = link.slots.probabilities[: len(part)]
                features[done : done + len(part)] = link.slots.features[: len(part)]
                # What was judged by other labels than this part is judged once more.
                done = done + len(part) if roster == self._roster or not done else 0
                self._roster = roster
                attempt = 1
            except ConnectionError:
                attempt = min(attempt + 1, MOST_ATTEMPTS)
                self.close()
                self._check_time(deadline)
            except BaseException:
                self.close()  # a late answer must not be taken for that to another request
                raise
        return results, features

    def reset(self) -> None:
        """The next inputs do not follow upon the last ones."""
        self._is_fresh = True

    def close(self) -> None:
        """Let go of the connection and the shared memory; ``classify`` would connect anew."""
        if self._link:
            self._link.connection.close()
            self._link = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _exchange(self, link: _Link, inputs: npt.NDArray[np.uint8], attempt: int, deadline: float) -> Roster:
        """Hand in and wait; what comes lies in the slots.

        Raises ConnectionError if the server goes, InferenceLostError if time is up.
        """
        self._number += 1
        link.slots.inputs[: len(inputs)] = inputs
        request = Request(self._number, len(inputs), attempt, time.monotonic(), self._is_fresh)
        link.connection.send(request.pack())
        message, _ = self._receive(link.connection, deadline)
        answer = Answer.unpack(message)
        if answer.number != self._number:
            raise ConnectionError(f"an answer to another request than {self._number}: {answer}")
        self._is_fresh = False
        link.roster = answer.roster or link.roster
        return link.roster

    def _connect(self, deadline: float) -> _Link:
        """Connect as soon as there is a server that answers."""
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                connection.settimeout(WAIT_STEP)
                connection.connect(self._address.name)
                connection.send(self._hello.pack())
                message, fds = self._receive(connection, deadline)
                try:
                    return _Link.open(connection, Welcome.unpack(message), fds)
                finally:
                    for fd in fds:
                        os.close(fd)
            except OSError:
                connection.close()
                self._wait_a_little(deadline)
            except BaseException:
                connection.close()
                raise

    def _receive(self, connection: socket.socket, deadline: float) -> tuple[bytes, list[int]]:
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 1)
            except TimeoutError:
                self._check_time(deadline)
                self._while_waiting()
                continue
            if not message:
                raise ConnectionError("the inference process is gone")
            return message, fds

    def _wait_a_little(self, deadline: float) -> None:
        self._check_time(deadline)
        self._while_waiting()
        time.sleep(RETRY_STEP)

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    def _check_time(self, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise InferenceLostError(
                f"no answer from the inference process within {self._timeout:g} s; "
                "it is being started again, or too slow for the streams it serves"
            )

    def _check_model(self, welcome: Welcome) -> None:
        if replace(welcome, roster=self._model.roster, slots=self._model.slots) != self._model:
            raise InferenceLostError(
                "the inference process came back with another model; start the stream anew"
            )


def read_statistics(address: InferenceAddress, timeout: float = 1.0) -> InferenceStatistics:
    """Ask an inference process what it has counted; takes as long as the batch that is running.

    Raises InferenceLostError if it does not answer within ``timeout`` seconds.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(timeout)
            connection.connect(address.name)
            connection.send(Hello(Purpose.STATISTICS, 1).pack())
            message = connection.recv(MESSAGE_BYTES)
    except OSError as error:
        raise InferenceLostError(f"the inference process does not answer: {error}") from error
    if not message:
        raise InferenceLostError("the inference process ended when it was asked for its statistics")
    return InferenceStatistics.unpack(message)


@dataclass(slots=True)
class _Link:
    """One connection to a server, the memory shared with it, and what the last answer was of."""

    connection: socket.socket
    welcome: Welcome
    slots: SharedSlots
    roster: Roster

    @classmethod
    def open(cls, connection: socket.socket, welcome: Welcome, fds: list[int]) -> _Link:
        if len(fds) != 1:
            raise ConnectionError("a welcome without memory")
        slots = SharedSlots(fds[0], welcome.slots, welcome.input_shape, welcome.columns, welcome.width)
        return cls(connection, welcome, slots, welcome.roster)
