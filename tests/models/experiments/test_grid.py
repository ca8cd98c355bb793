"""Grids of experiments: which runs there are, that none is done twice, and which is the best."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from models import architectures
from models.datasets import Sample
from models.errors import ExperimentError, ModelError
from models.experiments.compare import differing, rank, tabulate
from models.experiments.experiment import Experiment, merge, read_parameters
from models.experiments.grid import PAGE, TABLE, Planned, read_grid, run_grid
from models.experiments.results import FORMAT, RESULTS, find_runs, read_results
from models.experiments.samples import blind, divide
from models.preprocessing import Preprocessing

GRID = """
data = "pictures"
architecture = "small_cnn"
epochs = 3
[options]
dense = 8
[grid]
learning_rate = [0.001, 0.01]
dropout = [0.1, 0.5]
"options.dense" = [16, 32]
"""


def results_of(experiment: Experiment, accuracy: float, loss: float = 0.5) -> dict[str, Any]:
    """What a finished run leaves, as far as a grid looks at it."""
    figures = {
        "n": 10,
        "accuracy": accuracy,
        "loss": loss,
        "mean_roc_auc": None,
        "mean_average_precision": None,
        "calibration_error": 0.1,
    }
    return {
        "format": FORMAT,
        "parameters": experiment.parameters(),
        "parameter_count": {"total": 7, "trainable": 7},
        "seconds": {"training": 1.0},
        "epochs": {"main": 1},
        "history": [{"stage": "main", "epoch": 1, "val_accuracy": accuracy}],
        "splits": {"valid": figures},
    }


class Recorder:
    """A ``run`` that writes results at once, and does what it is told in between."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.interrupt_at = -1
        self.fail: set[str] = set()

    def __call__(self, planned: Planned, place: Path) -> None:
        self.begun.append(planned.name)
        if len(self.begun) - 1 == self.interrupt_at:
            raise KeyboardInterrupt
        if planned.name in self.fail:
            raise ModelError("no memory\nleft")
        accuracy = planned.experiment.learning_rate or 0.5
        (place / RESULTS).write_text(json.dumps(results_of(planned.experiment, accuracy)))


@pytest.fixture
def plan(tmp_path: Path) -> list[Planned]:
    (tmp_path / "grid.toml").write_text(GRID)
    return read_grid(tmp_path / "grid.toml")


def test_every_combination_is_a_run_with_a_name_of_its_own(plan: list[Planned], tmp_path: Path) -> None:
    """Ranges multiply; options of the architecture are joined, not replaced; paths hang on the file."""
    assert len(plan) == len({planned.name for planned in plan}) == 8
    assert plan[0].name.startswith("learning_rate-0.001_dropout-0.1_dense-16_")
    assert {p.experiment.options["dense"] for p in plan} == {16, 32}
    assert {p.experiment.data for p in plan} == {tmp_path / "pictures"}
    assert {p.experiment.epochs for p in plan} == {3}


def test_the_example_in_the_documentation_can_be_run(tmp_path: Path) -> None:
    """Somebody who copies it gets 64 runs, and networks that can be built."""
    text = (Path(models.__file__).parent / "README.md").read_text()
    (tmp_path / "g.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    plan = read_grid(tmp_path / "g.toml")
    assert len(plan) == 64
    options = plan[-1].experiment.options
    assert options == {"dense": [256]}
    network = architectures.build("alexnet", 3, Preprocessing(height=67, width=67), **options)
    assert network.get_layer(architectures.FEATURES).units == 256


def test_options_on_the_command_line_go_before_the_file(tmp_path: Path) -> None:
    """One option of the architecture that is given there leaves the others of the file alone."""
    (tmp_path / "g.toml").write_text('data = "x"\n[options]\na = 1\nb = 2\n[grid]\nepochs = [1]\n')
    (planned,) = read_grid(tmp_path / "g.toml", {"options": {"b": 3}, "seed": 7})
    assert planned.experiment.options == {"a": 1, "b": 3}
    assert planned.experiment.seed == 7


def test_dropout_has_two_names_and_one_value(tmp_path: Path) -> None:
    """The command line overrides either in a file by either; two values in one place are an error."""
    option = {"options": {"dense": 8, "dropout": 0.5}}
    assert merge(option, {"dropout": 0.1}) == {"options": {"dense": 8}, "dropout": 0.1}
    assert merge({"dropout": 0.1}, option) == option
    with pytest.raises(ExperimentError, match=r"dropout = 0.1: options.dropout = 0.5 says the same"):
        Experiment.of({"data": "x", "dropout": 0.1, **option})


def test_paths_hang_on_where_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run reads its parameters from a folder of its own, so none of them may be relative to that."""
    (tmp_path / "grids").mkdir()
    file = tmp_path / "grids" / "g.toml"
    file.write_text(
        'data = "x"\nstart_from = "sports"\n[grid]\nsplits = ["a.csv", "b.csv"]\nextra = [["more"]]\n'
    )
    (tmp_path / "sports").mkdir()
    monkeypatch.chdir(tmp_path)
    given = {"background": Path("empty"), "imagenet_weights": Path("w"), "start_from": "sports"}
    first, second = (planned.experiment for planned in read_grid(file, given))
    assert (first.splits, second.splits) == (file.with_name("a.csv"), file.with_name("b.csv"))
    assert first.extra == (file.with_name("more"),)
    assert (first.background, first.imagenet_weights) == (tmp_path / "empty", tmp_path / "w")
    assert first.start_from == "sports"
    (tmp_path / "sports" / "artifact.json").touch()
    (planned,) = read_grid(file, {"start_from": "sports"})[:1]
    assert planned.experiment.start_from == str(tmp_path / "sports")


def test_several_ranges_do_not_multiply(tmp_path: Path) -> None:
    """Two [[grid]] tables are two sets of runs; what both describe is one run."""
    (tmp_path / "g.json").write_text(
        json.dumps(
            {"data": "x", "grid": [{"epochs": [1, 2]}, {"epochs": [2], "dropout": [0.5]}, {"epochs": [1]}]}
        )
    )
    assert [p.experiment.epochs for p in read_grid(tmp_path / "g.json")] == [1, 2, 2]


def test_each_group_is_left_out_in_turn(tmp_path: Path) -> None:
    """Leave-one-group-out is a grid over the groups of the data."""
    (tmp_path / "g.toml").write_text('data = "x"\nleave_out = "each"\n[grid]\ndropout = [0.1, 0.2]\n')
    plan = read_grid(tmp_path / "g.toml", groups=lambda experiment: ["a", "b", "c"])
    assert Counter(p.experiment.leave_out for p in plan) == {"a": 2, "b": 2, "c": 2}
    with pytest.raises(ExperimentError, match="no groups to leave out"):
        read_grid(tmp_path / "g.toml")


def test_an_interrupted_grid_goes_on_without_repeating_anything(plan: list[Planned], tmp_path: Path) -> None:
    """Stopped in the middle of the third run, it begins with that one the next time."""
    first, second = Recorder(), Recorder()
    first.interrupt_at = 2
    with pytest.raises(KeyboardInterrupt):
        run_grid(plan, tmp_path / "out", first)
    with (tmp_path / "out" / TABLE).open() as lines:
        assert Counter(row["state"] for row in csv.DictReader(lines)) == {"done": 2, "waiting": 6}
    table = run_grid(plan, tmp_path / "out", second)
    names = [planned.name for planned in plan]
    assert first.begun == names[:3]
    assert second.begun == names[2:]
    assert len(table.done) == 8
    third = Recorder()
    run_grid(plan, tmp_path / "out", third)
    assert third.begun == []


def test_a_failed_run_is_recorded_and_the_others_go_on(plan: list[Planned], tmp_path: Path) -> None:
    """Its error stands in the table in one line; it is tried again only when asked for."""
    out, name = tmp_path / "out", plan[1].name
    recorder = Recorder()
    recorder.fail = {name}
    table = run_grid(plan, out, recorder)
    assert len(table.done) == 7
    assert table.failed == {name: "no memory\nleft"}
    with (out / TABLE).open() as lines:
        rows = {row["run"]: row for row in csv.DictReader(lines)}
    assert rows[name]["state"] == "failed"
    assert rows[name]["error"] == "no memory left"
    assert rows[name]["learning_rate"] == "0.001"
    assert "no memory" in (out / PAGE).read_text()
    again = Recorder()
    assert run_grid(plan, out, again).failed
    assert again.begun == []
    assert not run_grid(plan, out, again, retry=True).failed
    assert again.begun == [name]


def test_a_changed_experiment_is_not_taken_for_done(tmp_path: Path) -> None:
    """Results of other parameters never stand in for those that were asked for."""
    for epochs, begun in ((3, 1), (4, 1), (3, 0)):
        (tmp_path / "g.toml").write_text(f'data = "x"\nepochs = {epochs}\n[grid]\ndropout = [0.1]\n')
        recorder = Recorder()
        run_grid(read_grid(tmp_path / "g.toml"), tmp_path / "out", recorder)
        assert len(recorder.begun) == begun


def test_a_range_of_epochs_stands_beside_the_epochs_done() -> None:
    """A run that stopped early is still told from others by what it was asked for."""
    runs = {str(n): results_of(Experiment(data=Path("x"), epochs=n), 0.5) for n in (2, 9)}
    assert [(row["epochs"], row["epochs_done"]) for row in tabulate(runs)] == [(2, 1), (9, 1)]


def test_validation_alone_decides_the_order() -> None:
    """The best on the test images is not on top for that; equal accuracies are ranked by loss."""
    runs = {}
    for name, rate, accuracy, loss, test in (
        ("a", 0.1, 0.8, 0.4, 0.99),
        ("b", 0.2, 0.9, 0.6, 0.1),
        ("c", 0.3, 0.9, 0.5, 0.2),
    ):
        runs[name] = results_of(Experiment(data=Path("x"), learning_rate=rate), accuracy, loss)
        runs[name]["splits"]["test"] = {**runs[name]["splits"]["valid"], "accuracy": test}
    assert rank(runs) == ["c", "b", "a"]
    assert differing(run["parameters"] for run in runs.values()) == ["learning_rate"]
    rows = tabulate(runs)
    assert [(row["run"], row["learning_rate"], row["test_accuracy"]) for row in rows] == [
        ("c", 0.3, 0.2),
        ("b", 0.2, 0.1),
        ("a", 0.1, 0.99),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data = "x"\n', r"no \[grid\]"),
        ('data = "x"\n[grid]\ndropout = 0.5\n', "must be a list"),
        ('data = "x"\n[grid]\ndropout = []\n', "must be a list"),
        ('data = "x"\n[grid]\ndropuot = [0.5]\n', "no parameter 'dropuot'; there are data, name"),
        ('data = "x"\n[grid]\ndropout = [0.5, "much"]\n', "dropout = 'much'"),
        ('data = "x"\n[grid]\ndropout = [1.5]\n', "dropout = 1.5: input should be less than 1"),
        ('data = "x"\n[grid]\nseed = [4294967296]\n', "seed = 4294967296: input should be less than"),
        ('data = "x"\nname = ""\n[grid]\nseed = [1]\n', "name = '': a model's name has 1 to 64 letters"),
        ('data = "x"\nname = "a/b"\n[grid]\nseed = [1]\n', "name = 'a/b': a model's name"),
        ('data = "x"\nmodel_version = "1 b"\n[grid]\nseed = [1]\n', "model_version = '1 b': a version has"),
        ("[grid]\ndropout = [0.5]\n", "data is missing"),
        ("data = ", "cannot be read as TOML or JSON"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path: Path, text: str, message: str) -> None:
    """The last of a hundred runs does not fail for a slip that was there from the start."""
    (tmp_path / "g.toml").write_text(text)
    with pytest.raises(ExperimentError, match=message):
        read_grid(tmp_path / "g.toml")


def test_parameters_survive_being_written(tmp_path: Path) -> None:
    """What a run records is enough to run it again."""
    (tmp_path / "e.toml").write_text(
        'data = "x"\nextra = ["more"]\nlabels = ["a", "b"]\nepochs = 0\n[options]\ndense = 3\n'
    )
    experiment = Experiment.of(read_parameters(tmp_path / "e.toml"))
    (tmp_path / "again.json").write_text(json.dumps(experiment.parameters()))
    assert Experiment.of(read_parameters(tmp_path / "again.json")) == experiment
    assert experiment.extra == (tmp_path / "more",)
    assert experiment.settings()["epochs"] == 0


SAMPLES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["g1", "g2", "g3"])), min_size=8).map(
    lambda rows: [Sample(Path(f"{n}.png"), label, "train", group) for n, (label, group) in enumerate(rows)]
)


@given(SAMPLES, st.sampled_from(["image", "group"]))
def test_nothing_of_the_group_left_out_is_seen_before_the_test(samples: list[Sample], by: str) -> None:
    """A blind test is blind: the group is the test split as a whole, and no other image is in it."""
    group = samples[0].group
    if len({sample.group for sample in samples}) < 3:
        return
    divided = blind(samples, Experiment(data=Path("x"), leave_out=group, split_by=by), seed=1)
    assert {s.path for s in divided} == {s.path for s in samples}
    assert all((s.split == "test") == (s.group == group) for s in divided)
    if by == "group":
        assert len({(s.group, s.split) for s in divided}) == 3


def test_images_are_divided_anew_as_asked() -> None:
    """A split ratio is a parameter like any other."""
    samples = [Sample(Path(f"{n}.png"), "ab"[n % 2], "train", "") for n in range(100)]
    shares = {"train": 0.7, "valid": 0.1, "test": 0.2}
    divided = divide(samples, shares, Experiment(data=Path("x")), seed=3)
    assert Counter(s.split for s in divided) == {"train": 70, "valid": 10, "test": 20}


def test_runs_are_found_by_themselves_or_in_a_grid(tmp_path: Path) -> None:
    """Folders of the same name are told apart; a folder without a run is told."""
    experiment = Experiment(data=Path("x"))
    for place in ("one/run", "two/run", "two/other"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / RESULTS).write_text(json.dumps(results_of(experiment, 0.5)))
    assert set(find_runs([tmp_path / "one" / "run", tmp_path / "two"])) == {"one/run", "two/run", "other"}
    with pytest.raises(ExperimentError, match="no such file or folder"):
        find_runs([tmp_path / "three"])
    (tmp_path / "three").mkdir()
    with pytest.raises(ExperimentError, match="no finished run"):
        find_runs([tmp_path / "three"])
    (tmp_path / "one" / "run" / RESULTS).write_text('{"format": 99}')
    with pytest.raises(ExperimentError, match="format 99"):
        read_results(tmp_path / "one" / "run")
