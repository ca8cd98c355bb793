"""The example clips: their renderer, and that what they are said to show agrees with what was rendered."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from example_clips import render, training_images

FOLDER = Path(render.__file__).parent


@pytest.mark.parametrize("label", sorted(render.SCENES))
def test_a_seed_gives_the_same_picture_of_the_asked_size(label: str) -> None:
    """A clip can be made again from the repository, and any size and shape of picture can be asked for."""
    size = (160, 120)
    first, again = (next(render.render_scene(label, np.random.default_rng(7), size)) for _ in range(2))
    assert first.shape == (120, 160, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert first.std() > 10, "a picture with nothing in it"


@pytest.mark.parametrize("label", sorted(render.SCENES))
def test_a_scene_moves_smoothly(label: str) -> None:
    """As many frames as asked for, each a little different from the last, none a jump."""
    frames = list(render.render_scene(label, np.random.default_rng(3), (128, 72), 4))
    assert len(frames) == 4
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(frames)]
    assert min(steps) > 0
    assert max(steps) < 25


@pytest.mark.parametrize("name", sorted(render.CLIPS))
def test_the_expected_events_follow_the_timeline(name: str) -> None:
    """Events are ordered, apart, inside the clip, and last as long as the shots of their label."""
    record = render.expected(name)
    events = record["events"]
    assert isinstance(events, list)
    assert events
    end = 0.0
    for event in events:
        assert end <= event["start"] < event["end"]
        end = event["end"]
    assert end <= render.frame_count(render.CLIPS[name]) / render.FPS
    shown = sum(shot.seconds for shot in render.CLIPS[name] if shot.label != render.BACKGROUND)
    assert sum(event["end"] - event["start"] for event in events) == pytest.approx(shown)


def test_neighbouring_shots_of_one_sport_are_one_event() -> None:
    """A cut from one camera to another ends no event."""
    events = render.expected("badminton")["events"]
    assert events == [{"label": "badminton", "start": 2.0, "end": 10.0}]


@pytest.mark.parametrize("name", sorted(render.CLIPS))
def test_the_shipped_clip_agrees_with_the_script(name: str) -> None:
    """The files beside the script are the ones the script writes: same events, length, rate, size, sight."""
    clip = FOLDER / f"{name}.mp4"
    assert json.loads((FOLDER / f"{name}.expected.json").read_text("utf-8")) == render.expected(name)
    assert clip.stat().st_size < 1_500_000
    capture = cv2.VideoCapture(str(clip))
    try:
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(render.FPS)
        size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        assert size == render.SIZE
        _, first = capture.read()
        frames = 1
        while capture.grab():
            frames += 1
    finally:
        capture.release()
    assert frames == render.frame_count(render.CLIPS[name])
    drawn = next(render.clip_frames(name)).astype(int)
    assert np.abs(drawn - first).mean() < 10, (
        "further off than H.264 takes it; another seed is at 40 and more"
    )


def test_training_and_clip_seeds_are_apart() -> None:
    """No shipped frame can have been trained on: training pictures use seeds from 10 000."""
    assert all(shot.seed < 100 for shots in render.CLIPS.values() for shot in shots)
    assert training_images.FIRST_SEED >= 10_000


def test_training_images_are_pictures_with_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another sight every time, the same ones again for whoever renders them again."""
    for name in ("one", "two"):
        monkeypatch.setattr("sys.argv", ["training_images", str(tmp_path / name), "--count", "1"])
        training_images.main()
    one = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.jpg"))
    assert [str(path) for path in one if path.parts[0] == "background"] == [
        "background/0000.jpg",
        "background/page_0000.jpg",
    ]
    assert len(one) == 5
    contents = [(tmp_path / "one" / path).read_bytes() for path in one]
    assert contents == [(tmp_path / "two" / path).read_bytes() for path in one]
    assert len(set(contents)) == 5


def test_training_images_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV says nothing of a full disk; whoever goes on to train would miss pictures without knowing."""
    (tmp_path / "badminton" / "0000.jpg").mkdir(parents=True)
    monkeypatch.setattr("sys.argv", ["training_images", str(tmp_path), "--count", "1"])
    with pytest.raises(SystemExit, match=r"cannot write .*0000\.jpg"):
        training_images.main()
