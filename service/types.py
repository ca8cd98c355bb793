"""The records that travel through the pipeline.

Times ending in ``_pts`` are seconds of media time counted from the first frame of the source;
``captured_at`` is ``time.monotonic()`` in seconds. Images are H×W×3 ``uint8`` in OpenCV's channel
order (blue, green, red). Probabilities are ``float32`` of shape (classes,) that sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

BACKGROUND = "background"
"""The class for "none of the labels": a label of the model, never an event."""

CLIP_PREFIX: Final = "clip_"
"""Begins the stream of every uploaded clip in the event log, which is also its id; no other stream's name."""


SQUARE: Final = Fraction(1)
"""The shape of most pixels."""


@dataclass(frozen=True, slots=True)
class SourceProperties:
    """What is known of a source once its first frame has been decoded.

    ``frame_count`` is the container's claim, or ``None`` where it is missing or absurd: a hint for a
    progress bar, never a promise. ``pixel_aspect`` is how wide a pixel is to be shown for its height.
    """

    width: int
    height: int
    fps: float
    frame_count: int | None
    is_live: bool
    pixel_aspect: Fraction = SQUARE


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded image of a source; ``index`` counts from 0 without holes for a file."""

    source_id: str
    index: int
    pts: float
    captured_at: float
    image: Image


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one frame."""

    index: int
    pts: float
    probabilities: Probabilities


@dataclass(frozen=True, slots=True)
class SmoothedPrediction:
    """Mean of the last ``window`` predictions, with its top label; ``raw`` is the newest of them."""

    raw: Prediction
    probabilities: Probabilities
    label: str
    confidence: float

    @property
    def index(self) -> int:
        return self.raw.index

    @property
    def pts(self) -> float:
        return self.raw.pts


class EndReason(StrEnum):
    EXIT = "exit"
    LABEL_CHANGE = "label_change"
    SOURCE_LOST = "source_lost"
    BLIND = "blind"
    END_OF_STREAM = "end_of_stream"


@dataclass(frozen=True, slots=True)
class Event:
    """A label over the half-open interval [``start_pts``, ``end_pts``) of media time.

    ``end_pts`` and ``end_reason`` are ``None`` while the event goes on. ``peak_confidence`` and
    ``mean_confidence`` are taken over the smoothed probability of the label from detection on.
    ``detect_delay`` is the media time in seconds from ``start_pts`` to the frame at which the event
    was announced: what smoothing and the minimum duration cost.
    """

    id: str
    stream: str
    label: str
    start_pts: float
    end_pts: float | None
    peak_confidence: float
    mean_confidence: float
    detect_delay: float
    end_reason: EndReason | None = None


class EventPhase(StrEnum):
    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One step in the life of an event; ``seq`` rises by one per message of a stream."""

    seq: int
    phase: EventPhase
    event: Event


class StreamState(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    FROZEN = "frozen"
    BLIND = "blind"
    LOST = "lost"
    ENDED = "ended"
    FAILED = "failed"


class Preprocessor(Protocol):
    """Turns images into what a model sees of them."""

    @property
    def views(self) -> int:
        """In how many ways the model sees the frames of a stream, in turn; 1 for one that judges clips."""
        ...

    def model_input(self, image: Image, view: int = 0) -> Image:
        """Turn an H×W×3 image of any size into the h×w×3 ``uint8`` input of the model (BGR).

        ``view`` counts on from the last to the first again.
        """
        ...


class ImageToInput(Protocol):
    """The preprocessing that is stored with a model."""

    @property
    def views(self) -> tuple[object, ...]:
        """The views themselves, of which ``Preprocessor.views`` is the number."""
        ...

    def model_input(self, image: Image, view: int = 0) -> Image: ...


class Classifier(Preprocessor, Protocol):
    """Turns a batch of model inputs into probabilities: the seam between a stream and inference."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        ...

    @property
    def frames(self) -> int:
        """How many frames an answer hangs on: 1, or the length of the window of a model that judges clips."""
        ...

    def classify(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return (N, classes) probabilities for (N, h, w, 3) model inputs.

        For a model that judges clips, inputs are consecutive frames of one stream, from call to call.
        """
        ...

    def reset(self) -> None:
        """Forget earlier inputs: the next one begins anew. Changes nothing where each is judged alone."""
        ...


class ServedModel(Preprocessor, Protocol):
    """A model by its card, which can be opened where it is to run. Picklable.

    ``model_input`` does not load the network.
    """

    @property
    def name(self) -> str:
        """Name and version, as recorded with the events."""
        ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    def open(self, batch_size: int) -> Classifier:
        """Load the network in this process."""
        ...


class ClipEngine(Preprocessor, Protocol):
    """A model that judges windows of ``frames`` frames, cut where features of single frames can be kept.

    It remembers nothing of any stream; see ``windows`` for who does. A clip network that cannot be cut
    has model inputs for features.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        ...

    @property
    def frames(self) -> int:
        """Length of a window."""
        ...

    def encode(self, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Return (N, …) features of (N, h, w, 3) model inputs, each judged alone."""
        ...

    def decide(self, windows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return (N, classes) probabilities for (N, frames, …) features of consecutive frames."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of N inputs at one moment.

    ``probabilities`` are (N, labels) and sum to 1. ``shadows`` are labels on trial: column j of
    ``shadow_probabilities`` is what shadow j would have, if it alone were one of the labels.
    """

    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    shadows: tuple[str, ...]
    shadow_probabilities: npt.NDArray[np.float32]

    def trial(self, row: int) -> dict[str, float]:
        """What the shadows would have had of input ``row``."""
        return dict(zip(self.shadows, self.shadow_probabilities[row].tolist(), strict=True))


@runtime_checkable
class Judge(Protocol):
    """A classifier whose labels may come and go, some of them on trial."""

    def judge(self, inputs: npt.NDArray[np.uint8]) -> Judgement:
        """As ``Classifier.classify``, with the labels that hold for this answer."""
        ...


def judged(classifier: Classifier, inputs: npt.NDArray[np.uint8]) -> Judgement:
    """What any classifier says, with its labels on trial if it has such."""
    if isinstance(classifier, Judge):
        return classifier.judge(inputs)
    probabilities = classifier.classify(inputs)
    return Judgement(classifier.labels, probabilities, (), np.zeros((len(inputs), 0), np.float32))


@runtime_checkable
class LearningEngine(ClipEngine, Protocol):
    """A ``ClipEngine`` that labels are added to, and taken from, while it is in use.

    ``decide`` gives (N, labels + shadows) probabilities, laid out as in ``Judgement``.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that the network was trained for; they never change."""
        ...

    @property
    def shadows(self) -> tuple[str, ...]: ...

    @property
    def columns(self) -> int:
        """Most labels and shadows that there may ever be."""
        ...

    @property
    def width(self) -> int:
        """Width of the network's features, which are the last columns of what ``encode`` gives."""
        ...

    def refresh(self) -> bool:
        """Take in what has changed; cheap where nothing has. Returns whether labels or shadows did."""
        ...


@runtime_checkable
class Concurrent(Protocol):
    """An engine that may be called from several threads at the same time."""

    @property
    def lanes(self) -> int:
        """How many inputs it runs side by side; with 1, it is for one thread at a time after all."""
        ...


@runtime_checkable
class Embedder(Classifier, Protocol):
    """A classifier that also tells what its network saw: what recognition from a few examples builds on."""

    def embed(self, inputs: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (N, classes) probabilities, as ``classify`` does, and (N, width) features.

        Features are the network's last global average pool, 2048 wide for ResNet50; they are neither
        scaled nor normalised.
        """
        ...
