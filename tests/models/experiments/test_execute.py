"""What a run is begun with, as its experiment says."""

from pathlib import Path
from typing import Any

import pytest

from models.errors import ExperimentError
from models.experiments.execute import settings_of
from models.experiments.experiment import Experiment


def going_on(**given: Any) -> Experiment:
    return Experiment(data=Path("pictures"), start_from="sports", **given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"preset": "lecture"}, "a frozen base learns nothing"),
        ({"preset": "lecture", "epochs": 5}, "a frozen base learns nothing"),
        ({"epochs": 0, "refit_epochs": 0}, "a frozen base learns nothing"),
        ({"head_epochs": 5}, "without stage one; head_epochs has no use"),
        (
            {"unfreeze": "", "epochs": 5, "optimizer": "sgd"},
            "stage one; epochs, optimizer has no use",
        ),
        ({"refit_epochs": 0, "head_learning_rate": 0.1}, "without stage one; head_learning_rate has no use"),
        ({"imagenet_weights": Path("w")}, "starts from another model; imagenet_weights has no use"),
        ({"architecture": "lrcn", "imagenet_weights": Path("w")}, "imagenet_weights has no use"),
    ],
)
def test_what_a_model_that_goes_on_does_not_do_is_refused(given: dict[str, Any], reason: str) -> None:
    """Stage one would be skipped without a word, and a model without another stay as it is."""
    with pytest.raises(ExperimentError, match=reason):
        settings_of(going_on(**given))


def test_a_model_goes_on_without_stage_one() -> None:
    """With stage two, or to fit its head once more; the head of a clip network is a new one."""
    assert settings_of(going_on()).head_epochs == 0
    assert settings_of(going_on(epochs=0, head_epochs=0)).refit_epochs > 0
    assert settings_of(going_on(unfreeze="", learning_rate=1e-3)).head_learning_rate == 1e-3
    assert settings_of(going_on(architecture="lrcn")).head_epochs > 0
    assert settings_of(going_on(weights="none")).epochs > 0
