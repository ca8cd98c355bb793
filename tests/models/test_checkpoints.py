"""How far a run is, and when it is over."""

import json
from dataclasses import asdict
from pathlib import Path

from models.checkpoints import Progress


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
