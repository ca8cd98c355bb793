"""Features of frames from a frozen base: computed once, kept on disk, shared by every head that is tried.

A file is named by all that its content hangs on: the base with its weights, the preprocessing, the view and
the image's own bytes. So a folder of features is never stale and can serve any number of runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.augmentation import steady_view
from models.datasets import Image, read_image
from models.forward import fastest
from models.preprocessing import Preprocessing
from models.progress import Steps
from models.report import make_folder
from models.sequences import VideoFrame

Floats = npt.NDArray[np.float32]
BATCH = 16


class FrameFeatures:
    """Passes frames through ``encoder``, (N, h, w, 3) to (N, d), unless ``folder`` has what comes of it.

    ``passes`` counts the frames that did go through it.
    """

    def __init__(self, encoder: Any, preprocessing: Preprocessing, folder: Path, *, verbose: int = 0) -> None:
        self._encoder = encoder
        self._run: Callable[[Floats], Floats] | None = None
        self._preprocessing = preprocessing
        self._folder = folder / fingerprint(encoder, preprocessing)
        self._verbose = verbose
        self.passes = 0

    def of(self, frames: Sequence[VideoFrame], view: int = 0, seed: int = 1) -> Floats:
        """Return (N, d) features; ``view`` 0 is what serving sees, any other a random but repeatable one.

        A view changes all frames of a video alike, so that what moves in it is what moved before.
        """
        found: list[Floats | None] = []
        missing: list[int] = []
        paths = []
        for place, frame in enumerate(frames):
            path = self._path(frame, view, seed)
            paths.append(path)
            found.append(_kept(path))
            if found[-1] is None:
                missing.append(place)
        steps = Steps(len(missing), "frame", self._verbose)
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            images = [self._view(frames[place], view, seed) for place in part]
            self._run = self._run or fastest(self._encoder)
            rows = self._run(np.stack(images).astype(np.float32))
            self.passes += len(part)
            for place, row in zip(part, rows, strict=True):
                _store(paths[place], row)
                found[place] = row
            steps.add(len(part))
        return np.stack([row for row in found if row is not None])

    def _view(self, frame: VideoFrame, view: int, seed: int) -> Image:
        image = read_image(frame.path)
        if view:
            image = view_of_video(frame.video, view, seed)(image)
        return self._preprocessing.model_input(image)

    def _path(self, frame: VideoFrame, view: int, seed: int) -> Path:
        content = hashlib.sha256(frame.path.read_bytes())
        if view:
            content.update(f"|{seed}|{view}|{frame.video}".encode())
        return self._folder / f"{content.hexdigest()}.npy"


def view_of_video(video: str, view: int, seed: int) -> Callable[[Image], Image]:
    """The same change to every frame of a video."""
    return steady_view(np.random.default_rng([seed, view, *video.encode()]))


def fingerprint(encoder: Any, preprocessing: Preprocessing) -> str:
    """What tells one base with its weights and preprocessing from another."""
    digest = hashlib.sha256(json.dumps(preprocessing.to_dict(), sort_keys=True).encode())
    for layer in encoder._flatten_layers(include_self=False):
        digest.update(type(layer).__name__.encode())
    for variable in encoder.weights:
        digest.update(variable.path.encode())
        digest.update(np.ascontiguousarray(variable).tobytes())
    return digest.hexdigest()[:16]


def _kept(path: Path) -> Floats | None:
    """What was stored, unless it is damaged: then it is computed again, as if it were not there."""
    try:
        return np.asarray(np.load(path), np.float32)
    except (OSError, ValueError, EOFError):
        return None


def _store(path: Path, row: Floats) -> None:
    make_folder(path.parent)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        np.save(file, row.astype(np.float32))
    unfinished.replace(path)
