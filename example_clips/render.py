"""Render the example clips: `python -m example_clips.render [FOLDER] [--only NAME]`.

Everything is drawn by `example_clips.scenes` from a seed; no picture, model or font of anyone else is used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np

if __package__ in (None, ""):  # run as a file: make `example_clips` importable
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from example_clips.scenes import background, badminton, formula1, volleyball
from example_clips.scenes.camera import Image
from example_clips.scenes.texture import lens

FPS = 25.0
SUPERSAMPLE = 2
"""Scenes are drawn this many times larger each way, then averaged down."""


class Scene(Protocol):
    """Something that can be drawn at any moment."""

    def paint(self, image: Image, t: float) -> None:
        """Draw the moment `t` seconds after the start into `image` (float BGR, 0..1)."""


SCENES: dict[str, Callable[[np.random.Generator, float, bool], Scene]] = {
    "badminton": badminton.Scene,
    "volleyball": volleyball.Scene,
    "formula1": formula1.Scene,
    "background": background.Scene,
}


def render_scene(
    label: str, rng: np.random.Generator, size: tuple[int, int] = (640, 360), frames: int = 1
) -> Iterator[np.ndarray]:
    """Frames of one random scene of `label`, BGR uint8, `size` = (width, height), FPS frames a second.

    One frame is meant as a picture of its own: the moment is chosen to show the sport, and the lens and its
    faults (grain, blur, colour cast) vary widely. More frames make a clip: a calm lens, little grain.
    """
    clip = frames > 1
    scene = SCENES[label](rng, frames / FPS, clip)
    bright, wide = rng.uniform(0.85, 1.2), 0.3 if clip else 1.0
    cast = 1 + wide * rng.uniform(-0.1, 0.1, 3)
    contrast = 1.08 + wide * rng.uniform(-0.18, 0.22)
    saturation = 0.95 + wide * rng.uniform(-0.4, 0.15)
    blur = rng.uniform(0.3, 0.5) if clip else rng.choice([0.0, 0.3, 0.5, 0.8, 1.2])
    grain = 0.004 if clip else rng.uniform(0.0, 0.03)
    vignette, bloom = wide * rng.uniform(0, 0.4), rng.uniform(0, 0.5)
    image = np.zeros((size[1] * SUPERSAMPLE, size[0] * SUPERSAMPLE, 3), np.float32)
    for n in range(frames):
        scene.paint(image, n / FPS)
        yield lens(
            image,
            size,
            rng,
            exposure=bright,
            cast=cast,
            contrast=contrast,
            saturation=saturation,
            blur=float(blur),
            grain=float(grain),
            vignette=vignette,
            bloom=bloom,
        )


@dataclass(frozen=True, slots=True)
class Shot:
    """So many seconds of one scene, from one seed."""

    label: str
    seconds: float
    seed: int


SIZE = (640, 360)
BACKGROUND = "background"
CLIPS: dict[str, tuple[Shot, ...]] = {
    "badminton": (
        Shot("background", 2, 8),
        Shot("badminton", 4, 9),
        Shot("badminton", 4, 17),
        Shot("background", 2, 6),
    ),
    "volleyball": (Shot("volleyball", 4, 20), Shot("volleyball", 4, 1)),
    "formula1": (Shot("formula1", 4, 1), Shot("formula1", 4, 6), Shot("background", 2, 1)),
    "three_sports": (
        Shot("background", 4, 2),
        Shot("badminton", 6, 13),
        Shot("background", 4, 9),
        Shot("volleyball", 6, 16),
        Shot("background", 4, 6),
        Shot("formula1", 6, 12),
        Shot("background", 2, 5),
    ),
}
"""The clips, shot by shot. Seeds stay below 100; frames used for training are drawn from 10 000 upwards."""


def frame_count(shots: tuple[Shot, ...]) -> int:
    """Frames of a clip."""
    return sum(round(shot.seconds * FPS) for shot in shots)


def expected(name: str) -> dict[str, object]:
    """What is to be seen in a clip and when, in seconds; neighbouring shots of one sport are one event."""
    events: list[dict[str, object]] = []
    first, last_label = 0, BACKGROUND
    for shot in CLIPS[name]:
        end = first + round(shot.seconds * FPS)
        if shot.label == last_label and shot.label != BACKGROUND:
            events[-1]["end"] = end / FPS
        elif shot.label != BACKGROUND:
            events.append({"label": shot.label, "start": first / FPS, "end": end / FPS})
        first, last_label = end, shot.label
    return {"video": f"{name}.mp4", "fps": FPS, "events": events}


def clip_frames(name: str) -> Iterator[np.ndarray]:
    """All frames of a clip, BGR uint8."""
    for shot in CLIPS[name]:
        rng = np.random.default_rng(shot.seed)
        yield from render_scene(shot.label, rng, SIZE, round(shot.seconds * FPS))


def write_h264(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Encode with PyAV and libx264 (OpenCV's wheels have no such encoder), one thread so bytes repeat."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=int(FPS))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"crf": "27", "preset": "slow", "threads": "1"}
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        out.mux(stream.encode(None))


def main(argv: list[str] | None = None) -> None:
    """Render the clips and write what is to be seen in them beside each."""
    parser = argparse.ArgumentParser(description="Render the example clips and their expected events.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent, help="where to write")
    parser.add_argument("--only", choices=sorted(CLIPS), action="append", help="render only this clip")
    parser.add_argument(
        "--events-only", action="store_true", help="write the expected events, render nothing"
    )
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.only or CLIPS:
        text = json.dumps(expected(name), indent=1) + "\n"
        (args.folder / f"{name}.expected.json").write_text(text, encoding="utf-8")
        if args.events_only:
            continue
        path = args.folder / f"{name}.mp4"
        write_h264(path, clip_frames(name))
        print(f"{path.name}: {frame_count(CLIPS[name])} frames, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
