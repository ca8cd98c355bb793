"""How good a model is that judges windows of frames, on labelled videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.artifact import Artifact
from models.datasets import read_image, trained_on
from models.errors import DatasetError
from models.evaluate import Evaluation
from models.preprocessing import Image
from models.sequences import VideoFrame, Window, load_frames, of_split, windows


class Engine(Protocol):
    """What runs a clip model: see ``encode`` and ``decide`` of a clip network's two parts."""

    def model_input(self, image: Image) -> Image: ...
    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[Any]: ...
    def decide(self, windows: npt.NDArray[Any]) -> npt.NDArray[np.float32]: ...


def windows_of(artifact: Artifact, data: Path, split: str) -> list[Window]:
    """The windows of the videos in ``data`` as the model was trained on them.

    Raises DatasetError if there is none in ``split``, or if it was trained on some of them.
    """
    record = artifact.record("training")
    frames, stride = artifact.options["frames"], record.get("stride", 1)
    found = of_split(windows(load_frames(data), frames, stride), split)
    if not found:
        raise DatasetError(f"{data} has no {frames} consecutive frames of split {split!r}")
    if split != "train":
        samples = [window.sample for window in found]
        seen = trained_on(samples, record.get("division", {}))
        if seen:
            raise DatasetError(
                f"{artifact.name} was trained on {len(seen)} of the {len(found)} windows of split {split!r}, "
                f"the one that ends with {seen[0].path} first: {data} has been divided anew since"
            )
    return found


def evaluate_clips(
    chosen: Sequence[Window],
    labels: Sequence[str],
    engine: Engine,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Judge every window in ``chosen``, one pass per frame; ``progress`` is told the number of windows done.

    Raises DatasetError where there is none, or one of a label that the model lacks.
    """
    strangers = sorted({window.label for window in chosen} - set(labels))
    if strangers or not chosen:
        what = f"labels that the model lacks: {', '.join(strangers)}" if strangers else "no window"
        raise DatasetError(f"the videos to evaluate on hold {what}")
    kept: dict[VideoFrame, npt.NDArray[Any]] = {}
    rows = []
    for done, window in enumerate(chosen, start=1):
        kept = {frame: kept[frame] for frame in window.frames if frame in kept}
        for frame in window.frames:
            if frame not in kept:
                kept[frame] = engine.encode(engine.model_input(read_image(frame.path))[np.newaxis])[0]
        rows.append(engine.decide(np.stack([kept[frame] for frame in window.frames])[np.newaxis]))
        progress(done)
    truth = np.array([list(labels).index(window.label) for window in chosen], np.int64)
    return Evaluation(tuple(labels), truth, np.concatenate(rows))
