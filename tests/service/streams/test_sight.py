"""Whether a camera can see, with made-up and real pictures; time is what the test says."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from service.streams.sight import SEEN, Sight
from service.types import Image, StreamState

LIVE, BLIND, FROZEN = StreamState.LIVE, StreamState.BLIND, StreamState.FROZEN
CLIPS = Path(__file__).parents[3] / "example_clips"
SIZE = (360, 640, 3)


def covered(level: int, number: int) -> Image:
    """What a camera gives of nothing: its noise, and its own clock in a corner."""
    image = np.clip(level + noise(number % 4), 0, 255).astype(np.uint8)
    cv2.putText(image, f"2026-11-21 08:45:{number:02}", (8, 20), 0, 0.5, (255, 255, 255), 1)
    return image


@functools.cache
def noise(number: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(number).normal(0.0, 6.0, SIZE)


def scene(number: int) -> Image:
    return np.random.default_rng(number).integers(0, 255, (18, 32, 3), np.uint8).repeat(20, 0).repeat(20, 1)


def states(sight: Sight, images: Iterator[Image], start: float, step: float = 0.1) -> list[StreamState]:
    return [sight.look(image, start + i * step) for i, image in enumerate(images)]


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_a_covered_lens_is_blind(level: int) -> None:
    """Black, white or covered, with noise and a clock: blind from its first frame, told after a second."""
    sight = Sight(1.0, 3.0)
    assert set(states(sight, (scene(i) for i in range(10)), 0.0)) == {LIVE}
    dark = states(sight, (covered(level, i) for i in range(15)), 1.0)
    assert dark == [LIVE] * 10 + [BLIND] * 5
    assert sight.obscured
    assert sight.since == 1.0


def test_sight_returns_when_it_lasts() -> None:
    """A flicker of light is not sight; a third of a second is."""
    sight = Sight(0.5, 3.0)
    states(sight, (covered(0, i) for i in range(10)), 0.0)
    assert sight.look(scene(1), 1.0) is BLIND
    assert not sight.obscured
    assert sight.look(covered(0, 1), 1.1) is BLIND
    assert states(sight, (scene(i) for i in range(5)), 1.2) == [BLIND] * 3 + [LIVE] * 2
    assert sight.since == pytest.approx(1.5)


def test_a_short_darkness_is_none() -> None:
    """One black frame now and then, as some cameras give when they switch to night, changes nothing."""
    sight = Sight(1.0, 3.0)
    images = (covered(0, i) if i % 10 else scene(i) for i in range(50))
    assert set(states(sight, images, 0.0)) == {LIVE}


@pytest.mark.parametrize("clip", sorted(CLIPS.glob("*.mp4")), ids=lambda clip: clip.stem)
def test_a_night_scene_is_seen(clip: Path) -> None:
    """Real scenes at a fifth of their brightness are dark, yet there is something to see in every frame."""
    capture = cv2.VideoCapture(str(clip))
    sight = Sight(1.0, 3.0)
    number = 0
    while capture.grab():
        if number % 5 == 0:
            image = np.asarray(capture.retrieve()[1], np.uint8)
            night = cv2.convertScaleAbs(image, alpha=0.2)
            assert sight.look(np.asarray(night, np.uint8), number / 25) is LIVE
            assert not sight.obscured
        number += 1
    assert number > 20


def test_identical_frames_are_frozen() -> None:
    """Frozen from the first of the identical frames, told after three seconds, over with any change."""
    sight = Sight(1.0, 3.0)
    still = scene(1)
    found = states(sight, (still.copy() for _ in range(40)), 0.0)
    first = found.index(FROZEN)
    assert found == [LIVE] * first + [FROZEN] * (40 - first)
    assert 30 <= first <= 32
    assert sight.since == pytest.approx(0.1)
    still[101, 103, 1] ^= 1
    assert sight.look(still, 4.0) is LIVE


def test_key_frames_do_not_thaw_a_frozen_picture() -> None:
    """An encoder that gets the same picture on and on sends groups of frames that repeat to the bit."""
    sight = Sight(1.0, 3.0)
    key, still = scene(1) // 2 + 60, scene(1) // 2 + 63
    found = states(sight, ((still if i % 12 else key).copy() for i in range(60)), 0.0)
    first = found.index(FROZEN)
    assert found == [LIVE] * first + [FROZEN] * (60 - first)
    assert first <= 50


def test_a_film_in_a_loop_is_not_frozen() -> None:
    """Every frame was seen before, but they move."""
    sight = Sight(1.0, 1.0)
    assert set(states(sight, (scene(i % 15) for i in range(100)), 0.0)) == {LIVE}


def test_noise_is_life() -> None:
    """A still scene is not frozen as long as the camera's noise is on it."""
    sight = Sight(1.0, 0.5)
    still = scene(1) // 2 + 60
    random = np.random.default_rng(1)
    images = (still + (random.random(SIZE) < 0.001).astype(np.uint8) for _ in range(30))
    assert set(states(sight, images, 0.0)) == {LIVE}


def test_a_change_of_one_pixel_is_life() -> None:
    """A still scene with the least of noise is not frozen, wherever the noise is."""
    sight = Sight(1.0, 0.5)
    still = scene(1)
    for i in range(60):
        still[i, 2 * i + 1, 0] ^= 1
        assert sight.look(still, i / 10) is LIVE


def test_zero_switches_a_judgement_off() -> None:
    """A camera that looks at a wall, or a slide show, can be told to be fine."""
    sight = Sight(0.0, 0.0)
    assert set(states(sight, (covered(0, 1) for _ in range(60)), 0.0)) == {LIVE}
    assert not sight.obscured


@pytest.mark.parametrize("shape", [(1, 1, 3), (2000, 2, 3), (64, 96, 3), (1080, 1920, 3)])
def test_any_size_and_its_change(shape: tuple[int, int, int]) -> None:
    """The size may change at any moment; a frame of another size is not the same."""
    sight = Sight(1.0, 0.1)
    for i in range(4):
        sight.look(scene(1), i / 10)
    assert sight.look(scene(1), 0.4) is FROZEN
    assert sight.look(np.zeros(shape, np.uint8), 0.5) is LIVE


def test_memory_of_frames_is_bounded() -> None:
    """A camera that runs for months costs no more than one that runs for a minute."""
    sight = Sight(1.0, 3.0)
    for number in range(SEEN + 100):
        sight.look(np.full((1, 2, 3), (*divmod(number, 256), 0), np.uint8), number / 10)
    assert len(sight._seen) == SEEN
