"""A trained model on disk: weights, labels, preprocessing, calibration, and how all that came about.

A folder holds ``artifact.json`` (the model card that a program reads, with the checksum of every other
file), ``weights.safetensors`` (kernels in half precision, vectors in single), ``training.json`` and
``metrics.json``. ``openvino/`` and ``export.json`` are there where ``models.openvino`` has exported the
network. No file can run code when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.errors import ArtifactError
from models.precision import Precision
from models.preprocessing import Preprocessing

if TYPE_CHECKING:
    from models.architectures.clips import ClipParts

FORMAT = 1
ARTIFACTS = Path(__file__).parent / "artifacts"
CARD = "artifact.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model card. ``temperature`` divides the logits before the softmax (Guo et al., 2017).

    ``files`` are the names of the other files with their SHA-256.
    """

    folder: Path
    name: str
    version: str
    architecture: str
    options: Mapping[str, Any]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    files: Mapping[str, str]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """In which precisions the network has been exported for OpenVINO, the one that serves first."""
        return tuple(each for each in Precision if set(each.files) <= self.files.keys())

    @property
    def openvino_network(self) -> Path | None:
        """The exported network that serves, (N, height, width, 3) ``uint8`` BGR images to two outputs:
        ``probabilities`` and ``features``; ``None`` where none has been exported."""
        return self.folder / self.precisions[0].files[0] if self.precisions else None

    def build(self) -> Any:
        """Return a Keras model from (N, height, width, 3) BGR images to (N, classes) probabilities.

        One that judges clips takes (N, frames, height, width, 3).

        Raises ArtifactError if the weights do not fit the architecture.
        """
        return self._calibrated(self.build_network())

    @property
    def judges_clips(self) -> bool:
        """Whether it takes (N, frames, height, width, 3) windows of frames, see ``build_clip_parts``."""
        return "frames" in self.options

    def build_clip_parts(self) -> ClipParts:
        """Return a clip model in two parts, of which the second ends with probabilities.

        Raises ArtifactError if the weights do not fit the architecture.
        """
        from models.architectures.clips import ClipParts, cut

        parts = cut(self.build_network(), self.preprocessing)
        return ClipParts(parts.frames, parts.encode, self._calibrated(parts.decide))

    def build_network(self) -> Any:
        """Return the network alone, whose output is logits, with its weights."""
        from models import architectures

        network = architectures.build(self.architecture, len(self.labels), self.preprocessing, **self.options)
        self.fill(network)
        return network

    def fill(self, network: Any) -> None:
        """Give ``network``, of this architecture and as many labels, the stored weights.

        Raises ArtifactError where they do not fit.
        """
        from models.architectures.normalisation import finalize_normalization

        arrays = self.weights()
        for variable in network.weights:
            array = arrays.pop(_key(variable), None)
            if array is None or array.shape != tuple(variable.shape):
                found = "nothing" if array is None else f"shape {array.shape}"
                raise ArtifactError(
                    f"{self.folder / WEIGHTS}: {variable.path} should have shape "
                    f"{tuple(variable.shape)}, found {found}"
                )
            variable.assign(array.astype(np.float32))
        if arrays:
            raise ArtifactError(f"{self.folder / WEIGHTS} holds arrays that the network lacks: {min(arrays)}")
        finalize_normalization(network)

    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """The stored arrays by name. Raises ArtifactError where they cannot be read."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self.folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"{self.folder / WEIGHTS} cannot be read: {error}") from error

    def _calibrated(self, network: Any) -> Any:
        """``network`` with probabilities in place of its logits."""
        import keras

        logits = keras.layers.Rescaling(1 / self.temperature, dtype="float32", name="calibrate")(
            network.output
        )
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
        return keras.Model(network.input, probabilities, name=network.name)

    def card(self) -> dict[str, Any]:
        """The content of ``artifact.json``."""
        return _read_json(self.folder / CARD)

    def record(self, name: str) -> dict[str, Any]:
        """Read ``metrics``, ``training`` or ``export``: how good it is, how it and its exports came about."""
        return _read_json(self.folder / f"{name}.json")


def with_features(model: Any) -> Any:
    """Return ``model`` with a second output beside its own: its layer ``features``, or else its last global
    average pool.

    Raises ArtifactError for a network with neither, or one that judges clips.
    """
    import keras

    from models.architectures import FEATURES

    if len(model.input_shape) != 4:
        raise ArtifactError(f"network {model.name} judges clips; it says nothing of single frames")
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    named = [layer for layer in model.layers if layer.name == FEATURES]
    if not named and not pools:
        raise ArtifactError(f"network {model.name} has no layer to take features from")
    last = (named or pools)[-1]
    return keras.Model(model.input, [model.output, last.output], name=model.name)


def list_artifacts() -> list[str]:
    """Names of the models that ship."""
    return sorted(path.parent.name for path in ARTIFACTS.glob(f"*/{CARD}"))


def load_artifact(name_or_path: str | Path) -> Artifact:
    """Find a model by its name or its folder, and verify every file against its checksum.

    Raises ArtifactError where it is missing, damaged or of a format that this version does not know.
    """
    folder = Path(name_or_path)
    if not _has_card(folder):
        folder = ARTIFACTS / str(name_or_path)
    if not _has_card(folder) or Path(name_or_path).name in ("", ".."):
        names = ", ".join(list_artifacts()) or "none"
        of_run = Path(name_or_path) / "artifact"
        hint = f", such as {of_run}" if _has_card(of_run) else ""
        raise ArtifactError(
            f"no model {str(name_or_path)!r}: there ship {names}; "
            f"or give a folder that you may read and that holds {CARD}{hint}"
        )
    artifact = _read_card(folder)
    for file, expected in artifact.files.items():
        _verify(folder / file, expected)
    return artifact


def _has_card(folder: Path) -> bool:
    """Not that may be seen, where this user may not look into the folder, or into the one he is in."""
    try:
        return (folder / CARD).is_file()
    except OSError:
        return False


def _read_card(folder: Path) -> Artifact:
    """Raises ArtifactError for a card that says what cannot be."""
    from pydantic import ValidationError

    from models.card import Card  # not above: 7 MB that a process which is handed an artifact does not need

    path, fields = folder / CARD, _read_json(folder / CARD)
    if fields.get("format") != FORMAT:
        raise ArtifactError(f"{path} has format {fields.get('format')}, this version reads {FORMAT}")
    try:
        card = Card.model_validate(fields)
        preprocessing = Preprocessing.from_dict(card.preprocessing)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path} is not a model card: {place}: {first['msg']}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path} is not a model card: {error}") from error
    return Artifact(
        folder=folder,
        name=card.name,
        version=card.version,
        architecture=card.architecture.name,
        options=card.architecture.options,
        labels=tuple(card.labels),
        preprocessing=preprocessing,
        temperature=card.temperature,
        files=card.files,
    )


def origin_of(artifact: Artifact) -> dict[str, Any]:
    """Where weights came from, for the record of a model that goes on from them.

    All that ``artifact`` tells of its training but which images it saw, which the new record's own division
    tells too (see ``datasets.gone_on`` and ``joint_division``).
    """
    training = artifact.record("training")
    training.pop("division", None)
    files = dict(artifact.files)
    return {"name": artifact.name, "version": artifact.version, "files": files, "training": training}


def save_artifact(
    folder: Path,
    network: Any,
    *,
    name: str,
    version: str,
    architecture: str,
    options: Mapping[str, Any],
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    temperature: float,
    records: Mapping[str, Mapping[str, Any]],
) -> Artifact:
    """Write ``network`` (whose output is logits) and its ``records`` (by name) as an artifact.

    Other files of a model that lies there, such as an export, stay with it where it is the same network.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {_key(variable): _stored(np.asarray(variable)) for variable in network.weights}, folder / WEIGHTS
    )
    for record, content in records.items():
        write_json(folder / f"{record}.json", content)
    card: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "architecture": {"name": architecture, "options": dict(options)},
        "labels": list(labels),
        "preprocessing": preprocessing.to_dict(),
        "temperature": temperature,
        "files": {file: _sha256(folder / file) for file in [WEIGHTS, *(f"{key}.json" for key in records)]},
    }
    card["files"] |= _other_files(folder, card)
    _write_card(folder, card)
    return load_artifact(folder)


def _other_files(folder: Path, card: Mapping[str, Any]) -> dict[str, str]:
    """The checksums of what belongs to the card in ``folder`` beside the files of ``card``, undamaged, where
    both say the same of the network."""
    if not (folder / CARD).is_file():
        return {}
    earlier, now = _read_json(folder / CARD), json.loads(json.dumps(card))
    same = all(earlier[key] == now[key] for key in ("labels", "preprocessing", "temperature"))
    if not same or earlier["files"][WEIGHTS] != now["files"][WEIGHTS]:
        return {}
    return {
        file: known
        for file, known in earlier["files"].items()
        if file not in now["files"] and (folder / file).is_file() and _sha256(folder / file) == known
    }


def add_files(artifact: Artifact, files: Iterable[str]) -> Artifact:
    """Enter ``files`` that now lie in the folder, with their checksums, in the model card; the rest stays.

    Raises ArtifactError where the card cannot be written.
    """
    checksums = {**artifact.files, **{file: _sha256(artifact.folder / file) for file in files}}
    _write_card(artifact.folder, {**artifact.card(), "files": checksums})
    return load_artifact(artifact.folder)


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    path = folder / CARD
    unfinished = path.with_suffix(".new")
    try:
        write_json(unfinished, card)
        unfinished.replace(path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written: {error.strerror}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} holds no JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _key(variable: Any) -> str:
    """By what name a variable is stored: its path, without the count that Keras gives one that has no name
    (such as ConvNeXt's scales), which hangs on what the process made before."""
    return re.sub(r"/variable_\d+$", "/variable", variable.path)


def _stored(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Half precision for kernels; vectors (biases, batch statistics) are small and need their range."""
    return np.asarray(array, np.float16 if array.ndim > 1 else np.float32, order="C")


def round_weights(network: Any) -> None:
    """Leave ``network`` with the weights that a stored model has: judged so, it is what will be served."""
    from models.architectures.normalisation import finalize_normalization

    for variable in network.weights:
        variable.assign(_stored(np.asarray(variable)).astype(np.float32))
    finalize_normalization(network)


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; install the model again")
    if path.stat().st_size < 1000 and path.read_bytes().startswith(b"version https://git-lfs"):
        raise ArtifactError(f"{path} is a Git LFS pointer, not the file; run: git lfs pull")
    found = _sha256(path)
    if found != expected:
        raise ArtifactError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, not {expected[:12]}…; install it again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
