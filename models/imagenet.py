"""ImageNet weights for networks of ``keras.applications``, downloaded by Keras or read from a folder."""

from __future__ import annotations

import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import WeightsError

Array = npt.NDArray[np.float32]


def load_imagenet_weights(model: Any, folder: Path | None = None) -> None:
    """Fill the ResNet50 layers of ``model`` with ImageNet weights; other layers stay as they are.

    Without ``folder`` Keras downloads them (once, into its own cache). ``folder`` is a TensorFlow.js
    layers model of ResNet50 (``model.json`` beside its ``group1-shard*`` files) for machines that
    cannot. Raises WeightsError where the weights are missing or do not fit.
    """
    arrays = _by_path(download("ResNet50")) if folder is None else read_tensorflowjs(folder)
    filled = 0
    for layer in model.layers:
        for variable in layer.weights:
            array = arrays.get(variable.path)
            if array is None:
                continue
            if tuple(variable.shape) != array.shape:
                raise WeightsError(f"{variable.path} has shape {tuple(variable.shape)}, not {array.shape}")
            variable.assign(array)
            filled += 1
    expected = sum(len(layer.weights) for layer in model.layers if layer.name.startswith("conv"))
    if filled != expected:
        raise WeightsError(f"{filled} of {expected} arrays of the network were found in the ImageNet weights")


def download_into(base: str, model: Any, folder: Path | None = None) -> None:
    """Fill the layers of ``model`` that come from the base ``base`` of ``keras.applications``.

    Keras downloads the weights, once, into its own cache. Raises WeightsError where it cannot, and for a
    ``folder``, which only ``resnet50`` can read.
    """
    if folder is not None:
        raise WeightsError(f"{folder} can hold weights for resnet50 alone; Keras downloads those of {base}")
    arrays = _by_path(download(base))
    variables = {variable.path: variable for layer in model.layers for variable in layer.weights}
    missing = sorted(arrays.keys() - variables.keys())
    if missing:
        raise WeightsError(f"the network has no {missing[0]}, which the ImageNet weights of {base} have")
    for path, array in arrays.items():
        if tuple(variables[path].shape) != array.shape:
            raise WeightsError(f"{path} has shape {tuple(variables[path].shape)}, not {array.shape}")
        variables[path].assign(array)


def download(base: str) -> Any:
    """A base of ``keras.applications`` with its ImageNet weights; raises WeightsError without internet.

    How far the download is goes to stderr: what a command says on stdout is for programs to read.
    """
    import keras

    try:
        with redirect_stdout(sys.stderr):
            return getattr(keras.applications, base)(include_top=False, weights="imagenet")
    except Exception as error:
        raise WeightsError(
            f"the ImageNet weights of {base} could not be downloaded ({error}); for resnet50 give a folder "
            "that holds them with --imagenet-weights, for others train with --weights none"
        ) from error


def _by_path(model: Any) -> dict[str, Array]:
    return {variable.path: np.asarray(variable) for variable in model.weights}


def read_tensorflowjs(folder: Path) -> dict[str, Array]:
    """Read a TensorFlow.js layers model of Keras' ResNet50; keys are today's Keras variable paths."""
    try:
        manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
        arrays: dict[str, Array] = {}
        for group in manifest:
            data = b"".join((folder / path).read_bytes() for path in group["paths"])
            offset = 0
            for spec in group["weights"]:
                if spec["dtype"] != "float32":
                    raise WeightsError(f"{spec['name']} in {folder} is {spec['dtype']}, expected float32")
                size = int(np.prod(spec["shape"], dtype=np.int64))
                array = np.frombuffer(data, np.float32, size, offset).reshape(spec["shape"])
                arrays[_today(spec["name"])] = array
                offset += 4 * size
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{folder} holds no TensorFlow.js model of ResNet50: {error}") from error
    return arrays


def _today(name: str) -> str:
    """``res2a_branch2a/kernel`` of old Keras is ``conv2_block1_1_conv/kernel`` of today's."""
    layer, variable = name.split("/")[-2:]
    variable = variable.split(":")[0]
    match = re.fullmatch(r"(res|bn)(\d)([a-z])_branch(\d)([a-c]?)", layer)
    if match:
        kind, stage, block, branch, part = match.groups()
        number = 0 if branch == "1" else "abc".index(part) + 1
        suffix = "conv" if kind == "res" else "bn"
        layer = f"conv{stage}_block{ord(block) - ord('a') + 1}_{number}_{suffix}"
    else:
        layer = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"}.get(layer, layer)
    return f"{layer}/{variable}"
