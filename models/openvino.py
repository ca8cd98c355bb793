"""From a stored model to OpenVINO: the same network for fast serving on CPUs, in single precision or 8 bits.

The 8-bit version is made by post-training quantization (NNCF): weights and activations are rounded to 8
bits, in ranges that the network shows on some training images, and biases are corrected for what the
rounding shifts (Nagel et al., 2019, arXiv:1906.04721). The head, which is everything after the features,
stays in single precision: it costs nothing and decides the probabilities.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import architectures
from models.artifact import CARD, WEIGHTS, Artifact, add_files, load_artifact, with_features, write_json
from models.datasets import BACKGROUND, Sample, read_image
from models.errors import ArtifactError, DatasetError, ModelError
from models.evaluate import Evaluation
from models.precision import Precision

RECORD = "export"
CALIBRATION_IMAGES = 300


def convert(artifact: Artifact) -> Any:
    """Return the stored network as an ``openvino.Model`` in single precision.

    It takes ``image``, (N, height, width, 3) ``uint8`` BGR, and gives ``probabilities``, (N, classes), and
    ``features``, (N, width): see ``with_features``. Raises ModelError where Keras runs on another backend
    than TensorFlow, and for a network that judges windows of frames.
    """
    import keras

    from models.openvino_library import openvino

    if architectures.find(artifact.architecture).kind is not architectures.Kind.FRAME:
        raise ModelError(
            f"{artifact.architecture} judges windows of frames; only networks of frames are exported"
        )
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"export needs Keras on TensorFlow, not {keras.backend.backend()}: set KERAS_BACKEND=tensorflow"
        )
    graph = _frozen_graph(with_features(artifact.build()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pb"
        path.write_bytes(graph.SerializeToString())
        network = openvino.Core().read_model(path)
    network.inputs[0].get_tensor().set_names({"image"})
    for output in network.outputs:
        is_features = any(name.startswith("features") for name in output.get_names())
        output.get_tensor().set_names({"features" if is_features else "probabilities"})
    return network


def _frozen_graph(model: Any) -> Any:
    """The graph of ``model`` with its weights as constants: OpenVINO does not read Keras 3's variables."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model.trainable = False

    def outputs(image: Any) -> tuple[Any, Any]:
        probabilities, features = model(tf.cast(image, tf.float32), training=False)
        return tf.identity(probabilities, "probabilities"), tf.identity(features, "features")

    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="image")
    function = tf.function(outputs).get_concrete_function(images)
    return convert_variables_to_constants_v2(function).graph.as_graph_def()


def quantize(network: Any, inputs: npt.NDArray[np.uint8]) -> Any:
    """Return ``network`` in 8 bits, with ranges from ``inputs``, (N, height, width, 3) model inputs.

    The first layers and the head stay as they are: they cost little, and rounding there tells most. So do the
    terms of residual sums where nothing else takes them.

    Raises ModelError where NNCF is not installed.
    """
    import models.openvino_library  # noqa: F401  keeps NNCF, too, from reporting home

    try:
        import nncf
    except ImportError as error:
        raise ModelError("int8 needs NNCF; install it with: pip install 'video-events[export]'") from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(sys.stderr):  # of its progress
        quantized = nncf.quantize(
            network,
            nncf.Dataset([image[None] for image in inputs]),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=[*_first(network), *_head(network)], validate=False),
        )
    _keep_terms(quantized)
    return quantized


def _keep_terms(network: Any) -> None:
    """Do not round what is only added to something else: OpenVINO adds before it rounds at the same cost."""
    for node in network.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            takers = [each.get_node() for each in node.output(0).get_target_inputs()]
            if all(taker.get_type_name() == "Add" and _is_sum(taker) for taker in takers):
                node.output(0).replace(node.input_value(0))


def _first(network: Any) -> list[str]:
    """Names of the convolutions up to the first residual sum; the first one alone where there is no sum."""
    found: list[str] = []
    for node in network.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            found.append(node.get_friendly_name())
        elif node.get_type_name() == "Add" and _is_sum(node):
            return found
    return found[:1]


def _is_sum(node: Any) -> bool:
    """Whether two results of the network are added, and not a constant to one."""
    return all(each.get_source_output().get_node().get_type_name() != "Constant" for each in node.inputs())


def _head(network: Any) -> list[str]:
    """Names of the layers that compute the probabilities from the features."""
    features = network.output("features").get_node().input_value(0)
    found: list[Any] = []
    outputs = [features]
    while outputs:
        nodes = [each.get_node() for each in outputs.pop().get_target_inputs()]
        new = [node for node in nodes if node.get_type_name() != "Result" and node not in found]
        found += new
        outputs += [output for node in new for output in node.outputs()]
    return sorted(node.get_friendly_name() for node in found)


def calibration_inputs(
    artifact: Artifact, samples: Iterable[Sample], count: int = CALIBRATION_IMAGES, seed: int = 1
) -> npt.NDArray[np.uint8]:
    """Model inputs of about ``count`` training images, as many of each label as its share, each view in turn.

    The same for the same ``seed``. Raises DatasetError if there is no training image.
    """
    of_label: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.split == "train":
            of_label.setdefault(sample.label, []).append(sample)
    total = sum(map(len, of_label.values()))
    if not total:
        raise DatasetError("there is no training image to calibrate the quantization on")
    rng = np.random.default_rng(seed)
    chosen = [
        group[index]
        for _, group in sorted(of_label.items())
        for index in rng.permutation(len(group))[: max(1, round(count * len(group) / total))]
    ]
    model_input = artifact.preprocessing.model_input
    return np.stack([model_input(read_image(sample.path), view) for view, sample in enumerate(chosen)])


@contextmanager
def unfinished(network: Any, folder: Path, precision: Precision) -> Iterator[Path]:
    """Write ``network`` beside an artifact's files for as long as the context lasts; yields its graph.

    So it can be tried before ``record_export`` puts it in its place. Raises ArtifactError where the folder
    cannot be written.
    """
    from models.openvino_library import openvino

    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place) / f"{precision}.xml"
            openvino.save_model(network, path, compress_to_fp16=False)
            yield path
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with --output"
        ) from error


def copy_model(artifact: Artifact, folder: Path) -> Artifact:
    """Copy the reference model, without its exports, to ``folder``.

    Raises ArtifactError where that fails, or where another model lies there.
    """
    exported = {file for precision in Precision for file in precision.files} | {f"{RECORD}.json"}
    if folder.resolve() == artifact.folder.resolve():
        return artifact
    if (folder / CARD).exists() and load_artifact(folder).files[WEIGHTS] != artifact.files[WEIGHTS]:
        raise ArtifactError(f"{folder} holds another model; choose another folder with --output")
    kept = {file: checksum for file, checksum in artifact.files.items() if file not in exported}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in kept:
            shutil.copyfile(artifact.folder / file, folder / file)
        write_json(folder / CARD, {**artifact.card(), "files": kept})
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be written: {error.strerror}") from error
    return load_artifact(folder)


def compare(reference: Evaluation, exported: Evaluation) -> dict[str, Any]:
    """How far an exported network is from the reference on the same images, by name."""
    differences = np.abs(reference.probabilities - exported.probabilities)
    figures: dict[str, Any] = {
        "images": len(reference.truth),
        "top1_agreement": round(float((reference.predicted == exported.predicted).mean()), 4),
        "largest_probability_difference": round(float(differences.max()), 6),
        "mean_largest_difference": round(float(differences.max(axis=1).mean()), 6),
        "accuracy": round(exported.accuracy, 4),
        "reference_accuracy": round(reference.accuracy, 4),
    }
    labels = tuple(label for label in reference.labels if label != BACKGROUND)
    if labels != reference.labels:
        figures["without_background"] = {
            "accuracy": round(exported.restricted(labels).accuracy, 4),
            "reference_accuracy": round(reference.restricted(labels).accuracy, 4),
        }
    return figures


def record_export(artifact: Artifact, precision: Precision, graph: Path, how: dict[str, Any]) -> Artifact:
    """Move an exported network to its place and enter it into ``export.json`` and the model card.

    ``graph`` is the ``.xml``; its ``.bin`` lies beside it. Raises ArtifactError where that fails.
    """
    record = artifact.record(RECORD) if f"{RECORD}.json" in artifact.files else {}
    try:
        (artifact.folder / "openvino").mkdir(exist_ok=True)
        for file in precision.files:
            graph.with_suffix(Path(file).suffix).replace(artifact.folder / file)
        write_json(artifact.folder / f"{RECORD}.json", {**record, precision.value: how})
    except OSError as error:
        raise ArtifactError(f"{artifact.folder} cannot be written: {error.strerror}") from error
    return add_files(artifact, [*precision.files, f"{RECORD}.json"])


def versions(packages: Sequence[str] = ("openvino", "nncf")) -> dict[str, str]:
    """The versions of the packages that made an export."""
    from importlib.metadata import version

    return {package: version(package) for package in packages}
