"""The baseline: the loop that lectures on video classification teach, with the same network.

Read a frame, swap its colours, resize to 224×224, subtract the mean, ``model.predict`` it alone, average the
last predictions anew, put the text, write the frame: one after the other in one thread.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from service.benchmark.rounds import Reading, Stopwatch
from service.errors import BenchmarkError

NAME: Final = "lecture_loop"
SIDE: Final = 224
WINDOW: Final = 32


class LectureLoop:
    """Works on ``clip`` from its start in every round, and writes into ``folder``.

    Raises ``BenchmarkError`` for a network that judges windows of frames.
    """

    def __init__(self, model: str, clip: Path, folder: Path) -> None:
        import service.engines.compiled  # noqa: F401  sets TensorFlow up before it is imported
        from models.artifact import load_artifact

        artifact = load_artifact(model)
        if artifact.judges_clips:
            raise BenchmarkError(f"{artifact.name} judges windows of frames, the loop one frame by itself")
        wanted = artifact.preprocessing
        if artifact.architecture == "resnet50":  # whatever size a model is served at
            wanted = replace(wanted, height=SIDE, width=SIDE)
        # The loop hands over RGB with the mean off. The network flips that back if it wants BGR.
        flipped = "rgb" if wanted.channels == "bgr" else "bgr"
        self._mean = np.array(wanted.mean if wanted.channels == "rgb" else wanted.mean[::-1], np.float32)
        self._size = (wanted.width, wanted.height)
        plain = replace(wanted, channels=flipped, mean=(0.0, 0.0, 0.0))
        self._model: Any = replace(artifact, preprocessing=plain).build()
        self._labels = artifact.labels
        self._clip = str(clip)
        self._output = str(folder / "lecture.avi")

    def measure(self, seconds: float) -> Reading:
        """At least two frames: the first makes the writer."""
        watch, frames, writer = Stopwatch(), 0, None
        deadline = time.perf_counter() + seconds
        recent: deque[Any] = deque(maxlen=WINDOW)
        capture = cv2.VideoCapture(self._clip)
        watch.start()
        while frames < 2 or time.perf_counter() < deadline:
            grabbed, frame = capture.read()
            if not grabbed:
                watch.stop()  # opening does not count, nor does it for the pipeline
                capture.release()
                capture = cv2.VideoCapture(self._clip)
                watch.start()
                grabbed, frame = capture.read()
            assert frame is not None
            output = frame.copy()
            image = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), self._size).astype(np.float32)
            image = image - self._mean
            recent.append(self._model.predict(np.expand_dims(image, axis=0), verbose=0)[0])
            mean = np.array(recent).mean(axis=0)
            label = self._labels[int(np.argmax(mean))]
            cv2.putText(
                output, f"activity: {label}", (35, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.25, (0, 255, 0), 5
            )
            if writer is None:
                height, width = output.shape[:2]
                code = cv2.VideoWriter.fourcc(*"MJPG")
                writer = cv2.VideoWriter(self._output, code, 30, (width, height))
            writer.write(output)
            frames += 1
        watch.stop()
        capture.release()
        if writer is not None:
            writer.release()
        return watch.reading(frames)
