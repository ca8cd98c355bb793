"""The clip that is worked on: the user's, or one of 720 lines made for the purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from service.errors import BenchmarkError
from service.sources import open_source
from service.types import Image

SIZE: Final = (1280, 720)
FPS: Final = 25
LONGEST: Final = 600
SHORTEST: Final = 8
"""Frames. Of fewer, opening the file anew takes longer than all that is measured."""
EXAMPLE: Final = Path("example_clips") / "three_sports.mp4"


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file, with what the figures on it hang on."""

    path: Path
    width: int
    height: int
    fps: float
    frames: int
    codec: str

    def document(self) -> dict[str, Any]:
        return {
            "file": self.path.name,
            "width": self.width,
            "height": self.height,
            "fps": round(self.fps, 3),
            "frames": self.frames,
            "codec": self.codec,
        }


def inspect(path: Path) -> Clip:
    """Raises SourceError for what cannot be read, ``BenchmarkError`` for no file and too few frames."""
    frames = 0
    with open_source(str(path)) as source:
        if source.properties.is_live or not path.is_file():
            raise BenchmarkError(f"--clip {path}: not a video file; to measure streams there is --source")
        while frames < LONGEST and source.read():
            frames += 1
        facts = source.properties
    if frames < SHORTEST:
        raise BenchmarkError(f"--clip {path}: too short to be measured: {frames} frames, not {SHORTEST}")
    return Clip(path, facts.width, facts.height, facts.fps, frames, _codec(path))


def read_frames(path: Path, count: int) -> Iterator[Image]:
    """The first ``count`` frames, or as many as there are, one by one: of 4K each takes 25 MB."""
    with open_source(str(path)) as source:
        for _ in range(count):
            if (frame := source.read()) is None:
                return
            yield frame.image


def make_clip(folder: Path, frames: int) -> Path:
    """Write 720p H.264: the example clip enlarged, with the noise of a camera.

    Raises ``BenchmarkError`` if it cannot be written.
    """
    path = folder / f"clip_{frames}.mp4"
    with _writer(path, SIZE, FPS) as write:
        for image in _moving_pictures(frames):
            write(image)
    return path


def lengthen(clip: Clip, folder: Path, times: int) -> Path:
    """``clip`` that many times over, encoded anew so that all lengths are alike.

    An odd side loses a pixel, as encoders want it. Raises ``BenchmarkError`` if it cannot be written.
    """
    path = folder / f"{clip.path.stem}_{times}.mp4"
    size = (max(2, clip.width & ~1), max(2, clip.height & ~1))
    with _writer(path, size, max(1, round(clip.fps))) as write:
        for _ in range(times):
            for image in read_frames(clip.path, clip.frames):
                write(image)
    return path


def example() -> Path | None:
    """The example clip of this project, where there is a checkout."""
    for folder in (Path(), Path(__file__).parents[2]):
        if (folder / EXAMPLE).is_file():
            return folder / EXAMPLE
    return None


def _moving_pictures(count: int) -> Iterator[Image]:
    noise = np.random.default_rng(1).normal(0, 3, (8, SIZE[1], SIZE[0], 1)).astype(np.int8)
    found = example()
    images = list(read_frames(found, count)) if found else []
    for number in range(count):
        image = images[number % len(images)] if images else _drawn(number)
        large = cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.int16)
        yield np.clip(large + noise[number % len(noise)], 0, 255).astype(np.uint8)


def _drawn(number: int) -> Image:
    """Without the example clip: discs that wander over a patterned ground."""
    y, x = np.mgrid[0:360, 0:640].astype(np.float32)
    ground = 110 + 40 * np.sin(x / 23 + number / 40) * np.cos(y / 17)
    image = np.repeat(ground[:, :, None], 3, axis=2).astype(np.uint8)
    for disc in range(12):
        place = (int(60 * disc + 3 * number) % 640, int(31 * disc + 2 * number) % 360)
        cv2.circle(image, place, 8 + 2 * disc, (20 * disc, 255 - 20 * disc, 128), cv2.FILLED, cv2.LINE_AA)
    return image


@contextmanager
def _writer(path: Path, size: tuple[int, int], fps: int) -> Iterator[Callable[[Image], object]]:
    """Yields what writes one frame, in any size, to a video of ``size``."""
    import av

    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "23", "preset": "veryfast"}

            def write(image: Image) -> None:
                frame = av.VideoFrame.from_ndarray(_fitted(image, size), format="bgr24")
                container.mux(stream.encode(frame))

            yield write
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise BenchmarkError(f"cannot write {path}: {error}") from error


def _fitted(image: Image, size: tuple[int, int]) -> Image:
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _codec(path: Path) -> str:
    capture = cv2.VideoCapture(str(path))
    try:
        letters = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    finally:
        capture.release()
    return letters.decode("ascii", errors="replace").strip("\0 ")
