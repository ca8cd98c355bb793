"""Figures of merit against values worked out by hand."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.charts import (
    as_svg,
    draw_confusion,
    draw_learning_curves,
    draw_precision_recall,
    draw_roc,
    save,
)
from models.datasets import Sample
from models.errors import ModelError
from models.evaluate import Evaluation, evaluate, fit_offset, fit_temperature, renormalise, softmax
from models.experiments.results import Part, write_predictions
from models.export import Judged, export
from models.opinion_pool import log_opinion_pool
from models.preprocessing import Preprocessing, View
from models.report import format_table, write_report
from service.config import RunSettings


@pytest.fixture
def evaluation() -> Evaluation:
    """Six images of three labels, of which one 'a' is taken for 'b' and one 'background' for 'a'."""
    probabilities = np.array(
        [
            [0.7, 0.2, 0.1],
            [0.3, 0.6, 0.1],
            [0.1, 0.8, 0.1],
            [0.2, 0.7, 0.1],
            [0.1, 0.1, 0.8],
            [0.65, 0.05, 0.3],
        ],
        np.float32,
    )
    return Evaluation(("a", "b", "background"), np.array([0, 0, 1, 1, 2, 2]), probabilities)


def test_accuracy_table_and_matrix(evaluation: Evaluation) -> None:
    """Rows of the matrix are the true labels; precision and recall are not swapped."""
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert evaluation.confusion_matrix() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert evaluation.per_label()["b"] == {"precision": 0.6667, "recall": 1.0, "f1": 0.8, "support": 2}


def test_a_single_label_is_judged_without_a_warning() -> None:
    """What is left of a label and the background, without the latter."""
    alone = Evaluation(("a",), np.array([0, 0]), np.ones((2, 1), np.float32))
    assert alone.summary()["confusion_matrix"] == [[2]]


def test_labels_without_images_do_not_count_in_the_means(evaluation: Evaluation) -> None:
    """They are named instead, unless something was taken for them."""
    known = Evaluation(evaluation.labels, np.array([0, 1, 1]), np.eye(3, dtype=np.float32)[[0, 1, 1]])
    table = format_table(known)
    assert "macro avg     1.0000    1.0000    1.0000" in table
    assert table.endswith("no image, and none taken for it: background")
    assert "no image" not in format_table(evaluation)


def test_labels_may_have_any_signs_in_charts(tmp_path: Path) -> None:
    """A dollar begins no formula."""
    truth = np.array([0, 1, 0, 1])
    odd = Evaluation(("$x_$", "100 $ bill"), truth, np.eye(2, dtype=np.float32)[truth])
    for draw in (draw_confusion, draw_roc, draw_precision_recall):
        save(draw(odd), tmp_path / "chart.png")
        assert "$x_$" in as_svg(draw(odd))


def test_restricting_renormalises_and_keeps_only_those_images(evaluation: Evaluation) -> None:
    """A restricted judgement is over the given labels alone, in the given order."""
    restricted = evaluation.restricted(["b", "a"])
    assert restricted.truth.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(restricted.probabilities[0], [0.2 / 0.9, 0.7 / 0.9], rtol=1e-6)
    assert restricted.accuracy == 0.75


def test_event_rates(evaluation: Evaluation) -> None:
    """Half of the background would start an event at 0.6, and every other image would."""
    assert evaluation.event_rates(0.6) == {"background": 0.5, "labels": 1.0}
    assert evaluation.event_rates(0.7) == {"background": 0.0, "labels": 0.75}


def test_nothing_but_background_starts_no_event() -> None:
    """Where only images of the background are judged, there is no label left that could."""
    alone = Evaluation(("background",), np.array([0, 0]), np.ones((2, 1), np.float32))
    assert alone.event_rates(0.6) == {"background": 0.0}


def test_events_begin_at_the_probability_that_streams_use(evaluation: Evaluation) -> None:
    """What a report calls an event is what ``run`` and ``serve`` would call one."""
    assert evaluation.summary()["event_rates"]["enter"] == RunSettings().enter


def test_calibration_error_of_known_cases() -> None:
    """A model that says 0.8 and is right in 8 of 10 cases is calibrated; one that says 1.0 is off by 0.2."""
    truth = np.array([0] * 8 + [1] * 2)
    calibrated = Evaluation(("a", "b"), truth, np.tile(np.array([[0.8, 0.2]], np.float32), (10, 1)))
    boastful = Evaluation(("a", "b"), truth, np.tile(np.array([[1.0, 0.0]], np.float32), (10, 1)))
    assert calibrated.calibration_error() == pytest.approx(0, abs=1e-6)
    assert boastful.calibration_error() == pytest.approx(0.2)


def test_opposite_errors_do_not_make_up_for_each_other() -> None:
    """Too modest at 0.9 by 0.1 and too sure at 0.98 by 0.48: in bins of a fifteenth they count apart."""
    confidence = np.array([0.9, 0.9, 0.98, 0.98], np.float32)
    judged = Evaluation(("a", "b"), np.array([0, 0, 0, 1]), np.stack([confidence, 1 - confidence], axis=1))
    assert judged.calibration_error() == pytest.approx((2 * 0.1 + 2 * 0.48) / 4, abs=1e-6)


def test_summary_is_plain_json(evaluation: Evaluation) -> None:
    """Nothing of NumPy leaks into what a program will read."""
    summary = json.loads(json.dumps(evaluation.summary()))
    assert summary["n"] == 6
    assert set(summary) >= {"labels", "accuracy", "per_label", "confusion_matrix", "calibration_error"}


def test_temperature_is_found_again() -> None:
    """Labels drawn from softmax(logits / 2.5) are best explained by a temperature of 2.5."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 4, (20000, 5)).astype(np.float32)
    probabilities = softmax(logits, 2.5)
    truth = (probabilities.cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1).clip(0, 4)
    assert fit_temperature(logits, truth) == pytest.approx(2.5, rel=0.05)


def test_an_offset_is_found_again_with_its_temperature() -> None:
    """Labels drawn from softmax((logits + 3 for the second) / 2); none is asked for where nothing tells."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 4, (20000, 5)).astype(np.float32)
    raised = logits + np.array([0, 3, 0, 0, 0], np.float32)
    truth = (softmax(raised, 2.0).cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1).clip(0, 4)
    assert fit_offset(logits, truth, 1) == pytest.approx(3, abs=0.15)
    assert fit_offset(raised, truth, 1) == pytest.approx(0, abs=0.15)
    for none in (truth[truth != 1], np.ones(50, np.int64)):
        assert fit_offset(logits[: len(none)], none, 1) == 0


def test_a_few_right_images_ask_for_no_great_offset() -> None:
    """All right: without doubt the likelihood would grow for ever."""
    logits = np.array([[4.0, 0.0], [0.0, 3.0]] * 10, np.float32)
    assert abs(fit_offset(logits, np.array([0, 1] * 10), 0)) < 2


def test_temperature_is_that_of_the_pool_of_the_views() -> None:
    """Views that err independently are right together where they are sure: the pool is what is calibrated."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 5000)
    logits = rng.normal(0, 3, (2, len(truth), 4)).astype(np.float32)
    logits[:, np.arange(len(truth)), truth] += 3

    def loss(temperature: float) -> float:
        pooled = log_opinion_pool(softmax(logits, temperature))
        return Evaluation(tuple("abcd"), truth, pooled).loss

    together = fit_temperature(logits.mean(axis=0), truth)
    assert loss(together) < min(loss(0.9 * together), loss(1.1 * together))
    assert together < 0.8 * fit_temperature(logits[0], truth)


def test_an_image_is_judged_in_all_views(tmp_path: Path) -> None:
    """The pool of the views, each made by the model's own preprocessing; here one is mirrored."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = 200
    cv2.imwrite(str(tmp_path / "x.png"), image)
    preprocessing = Preprocessing(height=8, width=8, views=(View(), View(mirrored=True)))

    def classify(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        left = inputs[:, :, :4].mean(axis=(1, 2, 3)) / 200
        return np.stack([left, 1 - left], axis=1).astype(np.float32)

    samples = [Sample(tmp_path / "x.png", "a", "test")]
    one = evaluate(samples, ("a", "b"), preprocessing.model_input, classify)
    both = evaluate(samples, ("a", "b"), preprocessing.model_input, classify, views=2)
    np.testing.assert_allclose(one.probabilities, [[1, 0]], atol=0.01)
    np.testing.assert_allclose(both.probabilities, [[0.5, 0.5]], atol=0.01)


def test_a_few_right_images_do_not_make_a_model_sure_of_everything() -> None:
    """Rows still differ after calibration on a few images that were all right; ranks are kept."""
    logits = np.array([[4.0, 0.0], [0.0, 3.0], [6.0, 0.0], [0.0, 5.0]] * 10, np.float32)
    truth = np.array([0, 1, 0, 1] * 10)
    temperature = fit_temperature(logits, truth)
    assert 0.9 < softmax(logits, temperature).max(axis=1).mean() < 0.999


def test_renormalising_nothing_is_uniform() -> None:
    """A frame of which the chosen labels got no probability at all favours none of them."""
    np.testing.assert_allclose(renormalise(np.zeros((1, 4), np.float32)), 0.25)


def test_figures_without_background_need_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split that holds background alone does not end a run with a division by zero."""
    stored: dict[str, Any] = {}
    monkeypatch.setattr("models.export.save_artifact", lambda *_, **facts: stored.update(facts["records"]))
    labels = ("background", "blue", "red")

    def judged(*names: str) -> Judged:
        samples = [Sample(Path(f"{n}.png"), name, "valid") for n, name in enumerate(names)]
        return Judged(labels, samples, np.array([[[2.0, 1.0, 0.0]] * len(names)], np.float32))

    facts: dict[str, Any] = {"name": "x", "version": "1", "architecture": "small_cnn", "options": {}}
    facts |= {"labels": labels, "preprocessing": Preprocessing(), "training": {}}
    export(None, Path("x"), **facts, valid=judged("blue", "background"), test=judged("background"))
    assert stored["metrics"]["valid"]["without_background"]["n"] == 1
    assert stored["metrics"]["test"]["all"]["accuracy"] == 1.0
    assert "without_background" not in stored["metrics"]["test"]


def test_a_report_that_cannot_be_written_is_told(evaluation: Evaluation, tmp_path: Path) -> None:
    """A full disk, or a folder in its way, is a sentence and no traceback."""
    (tmp_path / "report" / "table.txt").mkdir(parents=True)
    with pytest.raises(ModelError, match="cannot write the report into"):
        write_report(tmp_path / "report", evaluation, [])
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "other" / "wrong.jpg").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"cannot write .*wrong\.jpg"):
        write_report(tmp_path / "other", evaluation, [Sample(tmp_path / "a.png", "a", "test")] * 6)


def test_charts_of_hundreds_of_labels_stay_small() -> None:
    """Some labels are named, the worst curves drawn, as the title says; of few labels nothing is left out."""
    for count, ticks, numbers, curves in ((8, 8, 8, 8), (300, 60, 0, 20)):
        truth = np.arange(2 * count) % count
        probabilities = np.full((2 * count, count), 0.1, np.float32)
        probabilities[np.arange(2 * count), truth] = 0.9
        probabilities[truth == 3] = np.eye(count)[4]  # no image of one label is found
        evaluation = Evaluation(tuple(f"label {i}" for i in range(count)), truth, probabilities)
        confusion, roc = draw_confusion(evaluation), draw_roc(evaluation)
        assert max(confusion.get_size_inches()) <= 30
        (axes,) = confusion.axes
        assert (len(axes.get_xticks()), len(axes.get_yticks()), len(axes.texts)) == (ticks, ticks, numbers)
        assert ("one label in 5 is named" in axes.get_title()) == (count == 300)
        (axes,) = roc.axes
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert len(names) == len(axes.lines) == curves
        assert any(name.startswith("label 3 ") for name in names)
        assert ("the worst 20 of 300 labels" in axes.get_title()) == (count == 300)


def test_learning_curves_are_of_what_was_measured() -> None:
    """Training on distances knows no accuracy, and no axes without a line are drawn for it."""
    row = {"stage": "main", "epoch": 1, "loss": 0.5, "val_loss": 0.6}
    both = draw_learning_curves([{**row, "accuracy": 0.5, "val_accuracy": None}])
    assert [axes.get_ylabel() for axes in both.axes] == ["loss", "accuracy"]
    assert [axes.get_ylabel() for axes in draw_learning_curves([row]).axes] == ["loss"]


def test_a_name_that_is_not_utf8_costs_no_report(tmp_path: Path) -> None:
    """What took hours to compute is written; the byte that no CSV can hold is spelt out."""
    path = tmp_path / "a" / "caf\udce9.png"
    path.parent.mkdir()
    path.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    judged = Evaluation(("a", "b"), np.array([0, 1]), np.array([[0.2, 0.8], [0.2, 0.8]], np.float32))
    samples = [Sample(path, "a", "test"), Sample(path, "b", "test")]
    write_report(tmp_path, judged, samples)
    assert "a/caf\\udce9.png,a,b,0.8000" in (tmp_path / "wrong.csv").read_text()
    write_predictions(tmp_path / "predictions.csv", {"test": Part(samples, judged, judged, {"a": 1, "b": 1})})
    assert "a,caf\\udce9.png,test,a,b,1," in (tmp_path / "predictions.csv").read_text()
