"""How far a run is, and when it is over."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from models.charts import read_history
from models.checkpoints import (
    Checkpoints,
    Progress,
    hold_settings,
    load_best,
    load_network,
    origin,
    read_record,
    save_whole,
    write_whole,
)
from models.datasets import Sample
from models.errors import DivergedError, ModelError
from models.settings import TrainingSettings


def test_patience_counts_from_the_best_epoch_across_sittings(tmp_path: Path) -> None:
    """A run that is stopped and resumed ends after the same epoch as one that is not."""
    losses = [1.0, 0.5, 0.7, 0.6, 0.5, 0.4]
    progress = Progress()
    ended = []
    for loss in losses:
        progress = progress.after(loss)
        (tmp_path / progress.last_file).touch()
        progress.write(tmp_path)
        progress = Progress.read(tmp_path)
        ended.append(progress.over(epochs=6, patience=3))
    assert ended == [False, False, False, False, True, True]
    assert (progress.epoch, progress.best, progress.best_epoch) == (6, 0.4, 6)


def test_without_patience_all_epochs_are_done() -> None:
    """Zero never stops early."""
    progress = Progress(epoch=5, best=0.1, best_epoch=1)
    assert not progress.over(epochs=6, patience=0)
    assert Progress(6, 0.1, 1).over(epochs=6, patience=0)


def test_runs_of_earlier_versions_go_on(tmp_path: Path) -> None:
    """Their state has no best epoch, and their files are named otherwise."""
    (tmp_path / "state.json").write_text('{"epoch": 3, "best": 0.2}')
    assert Progress.read(tmp_path) == Progress()  # there is no network to go on from
    for name in ("last.keras", "best.keras"):
        (tmp_path / name).touch()
    progress = Progress.read(tmp_path)
    assert progress == Progress(3, 0.2, 3)
    progress.after(0.3).write(tmp_path)
    assert [path.name for path in tmp_path.glob("*.keras")] == ["best.keras"]


class Network:
    """Its weight is the number of epochs that it was trained for."""

    optimizer = SimpleNamespace(use_ema=False)
    stop_training = False

    def __init__(self, weight: int) -> None:
        self.weight = weight

    def save(self, path: Path) -> None:
        path.write_text(str(self.weight))


def fit(folder: Path, losses: list[float]) -> None:
    """What is left of a training that comes to ``losses``."""
    progress = Progress.read(folder)
    network = Network(int((folder / progress.last_file).read_text()) if progress.epoch else 0)
    checkpoints = Checkpoints(folder, progress, epochs=len(losses), patience=0)
    checkpoints.set_model(network)
    for epoch in range(progress.epoch, len(losses)):
        network.weight += 1
        checkpoints.on_epoch_end(epoch, {"val_loss": losses[epoch]})


@pytest.mark.parametrize("is_done", [False, True])
def test_a_kill_at_any_moment_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    """Before or after any file is put in its place: no epoch is done twice, none is lost from the log, and
    the best network is that of the lowest loss."""
    losses = [0.5, 0.4, 0.6, 0.3]
    place, kills = Path.replace, 0
    while True:
        left, folder = kills, tmp_path / str(kills)
        folder.mkdir()

        def killed(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0 and not is_done:
                raise KeyboardInterrupt
            place(path, target)
            if left < 0:
                raise KeyboardInterrupt
            return target

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            try:
                fit(folder, losses)
            except KeyboardInterrupt:
                kills += 1
            else:
                break
        fit(folder, losses)
        progress = Progress.read(folder)
        assert (progress.epoch, progress.best, progress.best_epoch) == (4, 0.3, 4)
        assert (folder / progress.last_file).read_text() == "4"
        assert (folder / progress.best_file).read_text() == "4"
        history = read_history([folder / "log.csv"])
        assert [(row["epoch"], row["val_loss"]) for row in history] == list(enumerate(losses, 1))
    assert kills == 4 * 3 + 3  # last, log and state; three times a best one


def test_a_worse_epoch_never_takes_the_place_of_a_better_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the better one was stored before a kill undid it, and comes out worse when it is done again."""

    def killed(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    fit(tmp_path, [0.5])
    with monkeypatch.context() as patch:
        patch.setattr("models.checkpoints.write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, [0.5, 0.4])
    fit(tmp_path, [0.5, 0.6])
    assert (tmp_path / Progress.read(tmp_path).best_file).read_text() == "1"
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == ["best-1.keras", "last-2.keras"]


SAMPLES = [Sample(Path(f"{label}/{n}.png"), label, "train") for label in "ab" for n in range(3)]


DIVISION = {"train": "1 2 3 4 5 6", "valid": "", "test": "7"}


def begun_with(
    samples: list[Sample] = SAMPLES,
    labels: tuple[str, ...] = ("a", "b"),
    start_from: str | None = None,
    **division: str,
) -> dict[str, Any]:
    return origin(samples, labels, start_from, DIVISION | division)


def test_a_run_goes_on_with_its_own_images_alone(tmp_path: Path) -> None:
    """Another division, label or start in the same folder is refused by its name; the order is no matter."""
    hold_settings(tmp_path, {"seed": 1}, begun_with())
    hold_settings(tmp_path, {"seed": 1}, begun_with(SAMPLES[::-1]))
    divided = [*SAMPLES[1:], replace(SAMPLES[0], split="valid")]
    for other, name in [
        (begun_with(divided), "data"),
        (begun_with(SAMPLES[:3], ("a",)), "data, labels"),
        (begun_with(start_from="sports"), "start_from"),
    ]:
        with pytest.raises(ModelError, match=f"with another {name};"):
            hold_settings(tmp_path, {"seed": 1}, other)


def test_a_run_does_not_go_on_with_images_that_have_changed(tmp_path: Path) -> None:
    """Under the same names; but for the test they may come later."""
    hold_settings(tmp_path, {"seed": 1}, begun_with())
    hold_settings(tmp_path, {"seed": 1}, begun_with(test="8 9"))
    for other in (begun_with(train="2 1 3 4 5 6"), begun_with(valid="7")):
        with pytest.raises(ModelError, match=r"the images .* have changed since; choose another folder"):
            hold_settings(tmp_path, {"seed": 1}, other)


def test_runs_begun_by_earlier_versions_hold_what_they_stored(tmp_path: Path) -> None:
    """They know nothing of their images, and still refuse other settings."""
    (tmp_path / "settings.json").write_text('{"seed": 1}')
    hold_settings(tmp_path, {"seed": 1}, begun_with())
    with pytest.raises(ModelError, match="another seed;"):
        hold_settings(tmp_path, {"seed": 2}, begun_with())


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
    assert (progress.best, progress.best_epoch) == (None, 0)
    assert progress.over(epochs=9, patience=0)
    with pytest.raises(DivergedError, match="lower learning rate"):
        load_best(tmp_path / progress.best_file)


def test_what_is_damaged_is_told_by_its_name(tmp_path: Path) -> None:
    """A disk that lost what a run goes on from is no fault of the program; a new folder helps."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_whole(network, tmp_path / "last-1.keras")
    whole = (tmp_path / "last-1.keras").read_bytes()
    for half in (b"", whole[: len(whole) // 2], whole.replace(b"layers", b"slayer")):
        (tmp_path / "last-1.keras").write_bytes(half)
        for compiled in (True, False):
            with pytest.raises(ModelError, match=r"last-1\.keras is damaged; remove .* to begin anew"):
                load_network(tmp_path / "last-1.keras", compiled=compiled)
    for name in ("state.json", "settings.json", "training.json"):
        (tmp_path / name).write_text('{"epoch": ')
    for read in (
        lambda: Progress.read(tmp_path),
        lambda: hold_settings(tmp_path, {}, {}),
        lambda: read_record(tmp_path),
    ):
        with pytest.raises(ModelError, match=r"\.json is damaged; remove"):
            read()


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
