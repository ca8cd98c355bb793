"""What ``auto`` does where a GPU seems to be there that TensorFlow, here without one, does not find."""

from __future__ import annotations

import pytest

from models.artifact import load_artifact
from service import engines
from service.engines import Engine, open_engine, stored
from service.engines.keras import KerasClassifier
from service.engines.openvino import OpenvinoClassifier
from service.engines.stored import StoredModel
from tests.service.test_keras_engine import TinyArtifact


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    monkeypatch.setattr(stored, "has_gpu", lambda: True)


def test_openvino_steps_in(caplog: pytest.LogCaptureFixture) -> None:
    """The network does not run ten times slower in silence: OpenVINO runs it, and what is missing is told."""
    assert isinstance(open_engine(load_artifact("sports"), batch_size=1), OpenvinoClassifier)
    assert "tensorflow[and-cuda]" in caplog.text


def test_a_model_without_openvino(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow runs it all the same; that this is slow is told as well."""
    assert isinstance(open_engine(TinyArtifact(), batch_size=1), KerasClassifier)
    assert "tensorflow[and-cuda]" in caplog.text
    assert "slow" in caplog.text


def test_tensorflow_by_name_stays(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for TensorFlow gets it without a word."""
    assert isinstance(open_engine(TinyArtifact(), Engine.TENSORFLOW, batch_size=1), KerasClassifier)
    assert not caplog.records
    assert StoredModel.find("sports", Engine.TENSORFLOW).engine is Engine.TENSORFLOW


def test_the_service_decides_where_the_gpu_would_be_used() -> None:
    """The choice is left to the process that opens the model: the others do not load TensorFlow for it."""
    found = StoredModel.find("sports", Engine.AUTO)
    assert found.engine is Engine.AUTO
    assert isinstance(found.open(1), OpenvinoClassifier)
