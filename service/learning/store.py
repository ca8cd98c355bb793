"""Learned labels on disk: one index per model, one folder per label with its examples and their features.

Everything that decides what is served stands in the index, which is replaced as a whole: a label is there,
promoted or gone at one moment, whoever looks and whatever is killed. Who serves looks at the index again and
again (``stamp``), so a change reaches a running network without a word to it.

    <folder>/<model>/labels.json
    <folder>/<model>/<id>/000.jpg …  features.npy
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from service.errors import (
    LabelExistsError,
    LabelNotFoundError,
    LearningError,
    StorageError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

FORMAT: Final = 1
INDEX: Final = "labels.json"
MOST_LABELS: Final = 64
Floats = npt.NDArray[np.float32]
Stamp = tuple[int, int, int]


class LabelState(StrEnum):
    """``shadow`` is on trial: judged on every classified frame, announced to nobody."""

    SHADOW = "shadow"
    SERVED = "served"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedLabel:
    """``model`` is what the features in the file ``features`` are of: see ``LearnedModel.network``."""

    id: str
    name: str
    state: LabelState
    created_at: float
    examples: int
    model: str
    features: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All learned labels of a model at one moment; ``revision`` rises with every change."""

    revision: int = 0
    labels: tuple[LearnedLabel, ...] = ()

    def find(self, name: str) -> LearnedLabel:
        """Raises LabelNotFoundError."""
        for label in self.labels:
            if label.name == name:
                return label
        names = ", ".join(label.name for label in self.labels) or "none"
        raise LabelNotFoundError(f"no learned label {name!r}; there are: {names}")

    def of_state(self, state: LabelState) -> tuple[LearnedLabel, ...]:
        return tuple(label for label in self.labels if label.state is state)


class LabelStore:
    """The learned labels of the model called ``model``. Safe to use from several processes at once."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder / (re.sub(r"[^\w.-]", "_", model).lstrip(".") or "model")
        self._newest = Catalogue()
        self._stamp: Stamp | None = None
        self._unreadable: Stamp | None = None

    def stamp(self) -> Stamp | None:
        """Something that differs whenever the index has been replaced; None while there is none."""
        try:
            facts = (self.folder / INDEX).stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size

    def load(self) -> Catalogue:
        """Raises UnavailableError for an index that cannot be read."""
        path = self.folder / INDEX
        try:
            fields = json.loads(path.read_text())
            if fields["format"] != FORMAT:
                raise UnavailableError(f"{path} has format {fields['format']}, this version reads {FORMAT}")
            labels = tuple(_label(**entry) for entry in fields["labels"])
            return Catalogue(int(fields["revision"]), labels)
        except FileNotFoundError:
            return Catalogue()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"{path} cannot be read: {error}") from error

    def newest(self) -> Catalogue:
        """The catalogue as of now, or as it was when its index could last be read; this is logged once.

        The same object for as long as it is the same catalogue.
        """
        stamp = self.stamp()
        if stamp != self._stamp:
            try:
                self._newest, self._stamp = self.load(), stamp
            except UnavailableError as error:
                if stamp != self._unreadable:
                    logger.warning("learned labels stay as they are: %s", error)
                self._unreadable = stamp
        return self._newest

    def features(self, label: LearnedLabel) -> Floats:
        """(examples, width). Raises UnavailableError where they are missing or damaged."""
        path = self.folder / label.id / label.features
        try:
            features: Floats = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnavailableError(f"{path} cannot be read: {error}") from error
        if features.ndim != 2 or len(features) != label.examples or not np.isfinite(features).all():
            raise UnavailableError(f"{path} does not hold the features of {label.examples} examples")
        return features

    def examples(self, label: LearnedLabel) -> list[Path]:
        """The example images, in the order of the features."""
        return [self.folder / label.id / f"{number:03}.jpg" for number in range(label.examples)]

    def add(
        self,
        name: str,
        state: LabelState,
        model: str,
        images: Sequence[bytes],
        features: Floats,
        warnings: Sequence[str] = (),
    ) -> LearnedLabel:
        """Store a label with its examples, as JPEG. Raises LabelExistsError, LearningError, StorageError."""
        label = LearnedLabel(
            id=secrets.token_hex(8),
            name=name,
            state=state,
            created_at=time.time(),
            examples=len(images),
            model=model,
            features="features.npy",
            warnings=tuple(warnings),
        )
        folder = self.folder / label.id
        with self._changing() as catalogue:
            if any(other.name == name for other in catalogue.labels):
                raise LabelExistsError(f"there is a learned label {name!r} already; remove it first")
            if len(catalogue.labels) >= MOST_LABELS:
                raise LearningError(f"there are {MOST_LABELS} learned labels, as many as a model may have")
            folder.mkdir()
            try:
                for number, image in enumerate(images):
                    (folder / f"{number:03}.jpg").write_bytes(image)
                _save(folder / label.features, features)
                self._replace(catalogue, (*catalogue.labels, label))
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return label

    def promote(self, name: str) -> LearnedLabel:
        """Serve a label from now on; one that is served stays so. Raises LabelNotFoundError."""
        with self._changing() as catalogue:
            label = replace(catalogue.find(name), state=LabelState.SERVED)
            self._replace(catalogue, (label if one.id == label.id else one for one in catalogue.labels))
        return label

    def remove(self, name: str) -> LearnedLabel:
        """Forget a label and its examples. Raises LabelNotFoundError."""
        with self._changing() as catalogue:
            label = catalogue.find(name)
            self._replace(catalogue, (one for one in catalogue.labels if one.id != label.id))
        shutil.rmtree(self.folder / label.id, ignore_errors=True)
        return label

    def renew(self, model: str, embed: Callable[[Sequence[Path]], Floats]) -> tuple[str, ...]:
        """Embed the examples of labels whose features are of another version than ``model``.

        Returns the names of these labels. ``embed`` is given the paths of the example images. A label for
        which it raises LearningError is logged and left as it is.
        """
        renewed = []
        for label in self.load().labels:
            if label.model == model:
                continue
            try:
                features = embed(self.examples(label))
            except LearningError as error:
                logger.error("learned label %s cannot follow to %s: %s", label.name, model, error)
                continue
            file = f"features-{secrets.token_hex(4)}.npy"
            with self._changing() as catalogue:
                if not any(one.id == label.id for one in catalogue.labels):  # removed meanwhile
                    continue
                _save(self.folder / label.id / file, features)
                self._replace(
                    catalogue,
                    (
                        replace(one, model=model, features=file) if one.id == label.id else one
                        for one in catalogue.labels
                    ),
                )
            with suppress(OSError):
                (self.folder / label.id / label.features).unlink()
            renewed.append(label.name)
        return tuple(renewed)

    @contextmanager
    def _changing(self) -> Iterator[Catalogue]:
        """The catalogue to whoever changes it, one after the other, over all processes."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self.folder / "lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield self.load()
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error.strerror or error}") from error

    def _replace(self, catalogue: Catalogue, labels: Iterator[LearnedLabel] | Sequence[LearnedLabel]) -> None:
        document = {
            "format": FORMAT,
            "revision": catalogue.revision + 1,
            "labels": [asdict(label) for label in labels],
        }
        unfinished = self.folder / f"{INDEX}.new"
        with unfinished.open("w") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self.folder / INDEX)


def _label(state: str, warnings: Sequence[str], **fields: object) -> LearnedLabel:
    return LearnedLabel(state=LabelState(state), warnings=tuple(warnings), **fields)  # type: ignore[arg-type]


def _save(path: Path, features: Floats) -> None:
    """On the disk when this returns: the index that names it must not outlast it."""
    with path.open("wb") as file:
        np.save(file, features, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
