"""Everything that decides how a training run goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.preprocessing import Preprocessing

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ClassWeights = Literal["none", "balanced"]
Augmentation = Literal["none", "shifts", "video", "lecture", "clip"]
TrainingPrecision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a run is begun with; stored with its result, and a run goes on only with the same.

    ``weights`` is ``imagenet`` for the three stages of a pretrained base, or ``none`` to train the whole
    network from random weights in one. ``options`` are those of the architecture that differ from its own.

    ``train_size`` is the side of a training view in pixels, or 0 for the serving size. It may be smaller
    than that: random crops make objects look larger in training than at serving, and a smaller crop
    cancels that (Touvron et al., 2019, FixRes) while it halves the cost.

    ``epochs``, ``optimizer`` (``sgd``, ``adam``, ``adamw``), ``learning_rate``, ``schedule`` (``constant``
    or ``cosine``, with a warm-up) and ``patience`` (epochs without a better validation loss after which
    training stops; 0 never stops early) are those of stage two or of training from scratch; what a user
    says of them is the head's where the base stays frozen (see ``models.presets``).
    ``class_weights`` is ``none`` or ``balanced`` (each label counts alike in the loss).

    Without ``head_epochs`` stage two goes on from the weights that the network starts with.
    ``unfreeze`` names the first trainable stage of stage two, or is empty to skip it; the head learns
    ``head_factor`` times as fast as the stages below it. Batch normalisation stays as ImageNet left it.
    ``refit_epochs`` are those of stage three, which fits the head once more on the views that serving will
    see (0 skips it). With ``learn_valid`` the head that is stored was fitted to the validation images too:
    all that is chosen and told by them is of the same head without, as nothing else is left to judge it.

    ``views`` is in how many ways, 1 or 2, a model of single frames is to see them: see ``Preprocessing``.
    Which, is chosen on the validation images.

    ``mix`` is the share of training batches whose images are mixed with one another (mixup or CutMix), and
    ``weight_average`` the momentum, for one batch, of a moving average of the weights, which is what is then
    validated and kept (0 keeps the weights themselves). Both belong to stage two and training from scratch;
    only batches of single images can be mixed. So is ``inset``, the share of training images that are shown
    small in another one, of ``background`` or their own label: see ``models.augmentation.inset``.

    ``precision`` is what layers compute in while they are trained: ``float32``, or ``bfloat16`` (the weights
    themselves stay in single precision: Micikevicius et al., 2018), which is faster where the processor knows
    it. The network is judged in single precision always. For networks that classify single images.
    """

    architecture: str = "resnet50"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "imagenet"
    preset: str = "video"
    seed: int = 1
    batch_size: int = 32
    train_size: int = 160
    augmentation: Augmentation = "video"
    mix: float = 0.0
    inset: float = 0.0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    label_smoothing: float = 0.1
    class_weights: ClassWeights = "none"
    head_views: int = 1
    head_epochs: int = 12
    head_optimizer: Optimizer | Literal["lecture_sgd"] = "adamw"
    head_learning_rate: float = 1e-3
    unfreeze: str = "conv4"
    epochs: int = 6
    patience: int = 0
    optimizer: Optimizer = "adamw"
    learning_rate: float = 4e-5
    schedule: Schedule = "cosine"
    head_factor: float = 20.0
    weight_decay: float = 0.02
    weight_average: float = 0.0
    precision: TrainingPrecision = "float32"
    refit_epochs: int = 10
    learn_valid: bool = False
    views: int = 1


def from_scratch(**values: Any) -> TrainingSettings:
    """Settings of a network without pretrained weights: plain views, Adam, stop when it gets no better."""
    plain: dict[str, Any] = {
        "weights": "none",
        "preset": "scratch",
        "train_size": 0,
        "augmentation": "none",
        "label_smoothing": 0.0,
        "head_epochs": 0,
        "unfreeze": "",
        "epochs": 60,
        "patience": 12,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "constant",
        "head_factor": 1.0,
        "weight_decay": 0.0,
        "refit_epochs": 0,
    }
    return TrainingSettings(**(plain | values))
