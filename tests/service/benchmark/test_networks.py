"""The converted network has to be the same network, or its rate says nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from service.benchmark.networks import CHECKED, check, export_onnx, onnx_runtime, opencv_dnn
from service.benchmark.rounds import in_own_process
from service.errors import BenchmarkError
from tests.conftest import WriteVideo

REFERENCE = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)


def test_another_network_is_refused() -> None:
    """Probabilities that sum up to 1 are not enough: they have to be those of the reference."""
    check(REFERENCE + 5e-4, REFERENCE)
    check(REFERENCE[:1], REFERENCE)
    check(np.concatenate([REFERENCE, REFERENCE]), REFERENCE)
    with pytest.raises(BenchmarkError, match=r"up to 0\.7 from those of the reference"):
        check(REFERENCE[:, ::-1], REFERENCE)
    with pytest.raises(BenchmarkError, match="shape"):
        check(REFERENCE[:, :2], REFERENCE)
    with pytest.raises(BenchmarkError, match="nan"):
        check(REFERENCE * np.nan, REFERENCE)


def test_rivals_are_compared_with_the_reference(
    artifact: Path, write_video: WriteVideo, tmp_path: Path
) -> None:
    """What tf2onnx wrote gives the reference's probabilities, in batches of any size."""
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    clip, onnx = write_video(), tmp_path / "network.onnx"
    in_own_process(partial(export_onnx, str(artifact), clip, onnx))
    answers = np.load(onnx.with_suffix(".npy"))
    assert answers.shape[0] == CHECKED
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    for size in (1, CHECKED, 16):
        assert onnx_runtime(str(artifact), onnx, clip, size).measure(0.01).frames >= size
    assert opencv_dnn(str(artifact), onnx, clip, 1).measure(0.01).frames >= 1
    np.save(onnx.with_suffix(".npy"), answers[:, ::-1])
    for rival in (onnx_runtime, opencv_dnn):
        with pytest.raises(BenchmarkError, match="from those of the reference"):
            rival(str(artifact), onnx, clip, 1)


def test_without_a_conversion(tmp_path: Path) -> None:
    """Where the network could not be converted, the candidate's reason says so, not a library's words."""
    with pytest.raises(BenchmarkError, match="could not be converted"):
        opencv_dnn("sports", tmp_path / "absent.onnx", tmp_path, 1)
