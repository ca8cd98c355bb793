"""The mean of several models' weights, and of the weights of ImageNet that they all began with.

Networks that were fine-tuned from the same weights can be averaged (Wortsman et al., 2022, model soups), and
a share of the weights that they began with keeps some of what fine-tuning forgets: it helps most on images
that are unlike those of the training (Wortsman et al., 2022, robust fine-tuning). The mean costs as much to
run as one of them. Its features are new, so a head has to be fitted to them, ``train --start-from`` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import architectures
from models.artifact import CARD, Artifact, origin_of, save_artifact
from models.datasets import joint_division, learnt_from
from models.errors import ModelError
from models.report import make_folder


def average(
    models: Sequence[Artifact], *, imagenet: float = 0.0, imagenet_weights: Path | None = None
) -> Any:
    """Return the network (its output is logits) whose weights are the mean of those of ``models``.

    ``imagenet`` is the share, at least 0 and below 1, of ImageNet's weights where the network has such: they
    are downloaded or read from the folder ``imagenet_weights``. The head is the mean of the models' alone.
    Raises ModelError where the models differ in more than their weights, or there is nothing to average,
    WeightsError for weights that are missing.
    """
    check_alike(models)
    if not 0 <= imagenet < 1:
        raise ModelError(
            f"the share of ImageNet's weights has to be at least 0 and below 1, not {imagenet:g}"
        )
    if len(models) < 2 and not imagenet:
        raise ModelError("a mean takes two models or more, or one and a share of ImageNet's weights")
    network = models[0].build_network()
    mean = [array.astype(np.float64) / len(models) for array in network.get_weights()]
    for model in models[1:]:
        model.fill(network)
        for row, array in zip(mean, network.get_weights(), strict=True):
            row += array / len(models)
    network.set_weights(mean)
    if imagenet:
        load = architectures.find(models[0].architecture).load_weights
        if load is None:
            raise ModelError(f"architecture {models[0].architecture} has no weights of ImageNet")
        load(network, imagenet_weights)
        began = network.get_weights()
        network.set_weights(
            [(1 - imagenet) * row + imagenet * array for row, array in zip(mean, began, strict=True)]
        )
    return network


def check_alike(models: Sequence[Artifact]) -> None:
    """Raise ModelError where ``models`` differ in network, labels or what the pixels go through."""
    first = models[0]
    for model in models[1:]:
        for name in ("architecture", "options", "labels"):
            was, now = getattr(first, name), getattr(model, name)
            if was != now:
                raise ModelError(f"{first.folder} has {name} {was}, {model.folder} {now}: there is no mean")
        if apart := first.preprocessing.feeding_apart(model.preprocessing):
            name, was, now = apart
            raise ModelError(
                f"{first.folder} takes images with {name} {was}, {model.folder} {now}: there is no mean"
            )


def save_average(
    models: Sequence[Artifact],
    folder: Path,
    *,
    name: str,
    version: str,
    imagenet: float = 0.0,
    imagenet_weights: Path | None = None,
) -> Artifact:
    """Store the mean of ``models`` (see ``average``) in ``folder``, with views and temperature of the first.

    Its record holds the first model's training, which images any of them was trained on, and the shares.
    Raises ModelError as ``average``, and for a folder that cannot be made or holds a model.
    """
    make_folder(folder)
    if (folder / CARD).exists():
        raise ModelError(f"{folder} holds a model already; give another folder")
    network = average(models, imagenet=imagenet, imagenet_weights=imagenet_weights)
    first, records = models[0], [model.record("training") for model in models]
    share = (1 - imagenet) / len(models)
    parts = [{"share": share, **origin_of(model)} for model in models]
    training = {
        **{key: value for key, value in records[0].items() if key != "seconds"},
        # which validation images a model learned from is said by ``division`` here
        "settings": {**records[0].get("settings", {}), "learn_valid": False},
        "division": joint_division([learnt_from(record) for record in records]),
        "average": {"models": parts, "imagenet": imagenet},
    }
    return save_artifact(
        folder,
        network,
        name=name,
        version=version,
        architecture=first.architecture,
        options=first.options,
        labels=first.labels,
        preprocessing=first.preprocessing,
        temperature=first.temperature,
        records={"training": training, "metrics": {}},
    )
