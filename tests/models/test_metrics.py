"""A network in training is judged as it will be once it is calibrated."""

import keras
import numpy as np
import pytest

from models.evaluate import softmax
from models.metrics import TEMPERATURES, CalibratedLoss


def loss_at(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    return float(-np.log(softmax(logits, temperature)[np.arange(len(truth)), truth]).mean())


@pytest.mark.parametrize("sureness", [0.5, 1.0, 3.0])
def test_how_sure_a_network_is_does_not_matter(sureness: float) -> None:
    """The loss is the lowest over all temperatures, whatever factor the logits come with, batch by batch."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 200)
    logits = rng.normal(0, 1, (200, 5)) + 2 * np.eye(5)[truth]
    metric = CalibratedLoss()
    for start in range(0, 200, 64):
        part = slice(start, start + 64)
        metric.update_state(np.eye(5)[truth[part]], sureness * logits[part])
    lowest = min(loss_at(logits, truth, temperature) for temperature in np.geomspace(0.2, 5, 400))
    assert float(metric.result()) == pytest.approx(lowest, rel=0.01)
    assert TEMPERATURES[0] < 1 < TEMPERATURES[-1]
    metric.reset_state()
    assert float(metric.result()) == 0


def test_it_is_stored_with_a_network_that_goes_on_training(tmp_path) -> None:
    """And a loss that is no number stays one."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.compile("sgd", loss, metrics=[CalibratedLoss()])
    inputs, targets = np.ones((6, 4), np.float32), np.eye(3)[[0, 1, 2, 0, 1, 2]]
    network.fit(inputs, targets, verbose=0)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    history = again.fit(inputs, targets, validation_data=(inputs, targets), verbose=0).history
    assert np.isfinite(history["val_calibrated_loss"][0])
    metric = CalibratedLoss()
    metric.update_state(targets, np.full((6, 3), np.nan))
    assert np.isnan(float(metric.result()))
