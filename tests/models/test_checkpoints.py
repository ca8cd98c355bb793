"""How far a run is, and when it is over."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from models.checkpoints import Progress, hold_settings, load_best, origin, save_whole, write_whole
from models.datasets import Sample
from models.errors import DivergedError, ModelError
from models.settings import TrainingSettings


def test_patience_counts_from_the_best_epoch_across_sittings(tmp_path: Path) -> None:
    """A run that is stopped and resumed ends after the same epoch as one that is not."""
    losses = [1.0, 0.5, 0.7, 0.6, 0.5, 0.4]
    progress, path = Progress(), tmp_path / "state.json"
    ended = []
    for loss in losses:
        progress = progress.after(loss)
        path.write_text(json.dumps(asdict(progress)))
        progress = Progress.read(path)
        ended.append(progress.over(epochs=6, patience=3))
    assert ended == [False, False, False, False, True, True]
    assert progress == Progress(epoch=6, best=0.4, best_epoch=6)


def test_without_patience_all_epochs_are_done() -> None:
    """Zero never stops early."""
    progress = Progress(epoch=5, best=0.1, best_epoch=1)
    assert not progress.over(epochs=6, patience=0)
    assert Progress(6, 0.1, 1).over(epochs=6, patience=0)


def test_runs_of_earlier_versions_go_on(tmp_path: Path) -> None:
    """Their state has no best epoch."""
    path = tmp_path / "state.json"
    path.write_text('{"epoch": 3, "best": 0.2}')
    assert Progress.read(path) == Progress(3, 0.2, 3)


SAMPLES = [Sample(Path(f"{label}/{n}.png"), label, "train") for label in "ab" for n in range(3)]


def test_a_run_goes_on_with_its_own_images_alone(tmp_path: Path) -> None:
    """Another division, label or start in the same folder is refused by its name; the order is no matter."""
    begun = origin(SAMPLES, ("a", "b"), None)
    hold_settings(tmp_path, {"seed": 1}, begun)
    hold_settings(tmp_path, {"seed": 1}, origin(SAMPLES[::-1], ("a", "b"), None))
    divided = [*SAMPLES[1:], replace(SAMPLES[0], split="valid")]
    for other, name in [
        (origin(divided, ("a", "b"), None), "data"),
        (origin(SAMPLES[:3], ("a",), None), "data, labels"),
        (origin(SAMPLES, ("a", "b"), "sports"), "start_from"),
    ]:
        with pytest.raises(ModelError, match=f"with another {name};"):
            hold_settings(tmp_path, {"seed": 1}, other)


def test_runs_begun_by_earlier_versions_hold_what_they_stored(tmp_path: Path) -> None:
    """They know nothing of their images, and still refuse other settings."""
    (tmp_path / "settings.json").write_text('{"seed": 1}')
    hold_settings(tmp_path, {"seed": 1}, origin(SAMPLES, ("a", "b"), None))
    with pytest.raises(ModelError, match="another seed;"):
        hold_settings(tmp_path, {"seed": 2}, origin(SAMPLES, ("a", "b"), None))


def test_a_setting_that_came_later_has_its_default(tmp_path: Path) -> None:
    """An upgrade does not leave a run unfinished; another value than the default is another run."""
    settings = asdict(TrainingSettings())
    stored = {name: value for name, value in settings.items() if name != "precision"}
    (tmp_path / "settings.json").write_text(json.dumps(stored))
    hold_settings(tmp_path, settings, {})
    with pytest.raises(ModelError, match="another precision;"):
        hold_settings(tmp_path, settings | {"precision": "bfloat16"}, {})


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    """Nothing would ever be lower; and without any other there is no network to store."""
    progress = Progress().after(float("nan"))
    assert progress == Progress(1, None, 0)
    assert progress.after(0.5) == Progress(2, 0.5, 2)
    with pytest.raises(DivergedError, match="lower learning rate"):
        load_best(tmp_path / "best.keras")


def test_a_kill_while_something_is_stored_leaves_what_was_there(tmp_path: Path) -> None:
    """Half a file would be taken for a stage that is done."""

    class Killed:
        def save(self, path: Path) -> None:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_whole(Killed(), tmp_path / "head.keras")
    assert not (tmp_path / "head.keras").exists()
    write_whole(tmp_path / "state.json", "{}")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == ["state.json"]
