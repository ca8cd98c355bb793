"""Networks that learn distances: embeddings in which images of one label lie together.

The losses see every pair, or triplet, within a batch of embeddings, so one pass of the network per image
gives them all; two or three towers with shared weights would compute the same. A network trained so ends in
prototypes, the mean embedding of each label, and can be served like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import ops

from models.errors import DivergedError
from models.progress import EpochProgress

if TYPE_CHECKING:
    from models.batches import Batches

EmbeddingLoss = Callable[[Any, Any], Any]
"""(N, classes) one-hot targets and (N, d) embeddings of unit length to one number."""

MARGIN_OF_PAIRS: Final = 1.0
MARGIN_OF_TRIPLETS: Final = 0.2
SHARPNESS: Final = 10.0
"""Logits per unit of cosine between an image and the prototype of a label; calibration follows anyway."""
_FAR: Final = 1e6


def contrastive_loss(targets: Any, embeddings: Any) -> Any:
    """Mean over all pairs of a batch: d² of a like pair, max(0, 1 − d)² of an unlike one.

    Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006. Like and
    unlike pairs count alike, however many there are of each.
    """
    squares = _squared_distances(embeddings)
    alike, other = _pairs(targets)
    gaps = ops.maximum(0.0, MARGIN_OF_PAIRS - ops.sqrt(squares + 1e-12))
    return _mean(squares, alike) + _mean(gaps * gaps, other)


def semi_hard_triplet_loss(targets: Any, embeddings: Any) -> Any:
    """Mean over all like pairs of max(0, d² − d² to a negative + 0.2).

    Schroff, Kalenichenko, Philbin: FaceNet, CVPR 2015: the negative is the nearest one that is further than
    the positive, or, where there is none, the furthest.
    """
    squares = _squared_distances(embeddings)
    alike, other = _pairs(targets)
    positive, negative = squares[:, :, None], squares[:, None, :]
    further = ops.logical_and(other[:, None, :] > 0, negative > positive)
    nearest = ops.min(ops.where(further, negative, _FAR), axis=2)
    furthest = ops.max(squares * other, axis=1, keepdims=True)
    chosen = ops.where(nearest < _FAR, nearest, furthest)
    has_negative = ops.cast(ops.sum(other, axis=1, keepdims=True) > 0, "float32")
    return _mean(ops.maximum(0.0, squares - chosen + MARGIN_OF_TRIPLETS), alike * has_negative)


def fit_embedding(
    network: Any,
    features: str,
    loss: EmbeddingLoss,
    train: Batches,
    valid: Batches,
    *,
    optimizer: Any,
    epochs: int,
    patience: int,
    folder: Path,
    verbose: int = 0,
) -> None:
    """Fit ``network`` up to its layer ``features``; then make its last layer the labels' prototypes.

    Ends with the weights of the lowest validation loss. ``folder`` gets ``log.csv``. Raises DivergedError
    where no epoch has a loss.
    """
    embedder = keras.Model(network.input, network.get_layer(features).output)
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    embedder.compile(optimizer=optimizer, loss=loss, jit_compile=jit)
    best = folder / "embedding.weights.h5"
    best.unlink(missing_ok=True)
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_loss", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        EpochProgress(epochs),
    ]
    if patience:
        callbacks.append(keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience))
    embedder.fit(
        train, validation_data=valid, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=verbose
    )
    if not best.is_file():
        raise DivergedError(folder)
    embedder.load_weights(best)
    set_prototypes(network, embedder, train)


def set_prototypes(network: Any, embedder: Any, batches: Batches) -> None:
    """Give the last layer of ``network``, linear and without bias, the mean embedding of each label."""
    sums: Any = 0.0
    for number in range(len(batches)):
        images, targets = batches[number]
        embeddings = np.asarray(embedder.predict_on_batch(images.astype(np.float32)))
        sums = sums + embeddings.T @ (targets == targets.max(axis=1, keepdims=True)).astype(np.float32)
    prototypes = sums / np.maximum(np.linalg.norm(sums, axis=0, keepdims=True), 1e-9)
    network.layers[-1].set_weights([(SHARPNESS * prototypes).astype(np.float32)])


def _squared_distances(embeddings: Any) -> Any:
    embeddings = ops.cast(embeddings, "float32")
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    lengths = ops.sum(embeddings * embeddings, axis=1)
    return ops.maximum(0.0, lengths[:, None] + lengths[None, :] - 2.0 * products)


def _pairs(targets: Any) -> tuple[Any, Any]:
    """1 where two different images are of one label, and where they are of two."""
    labels = ops.argmax(targets, axis=1)
    same = ops.cast(labels[:, None] == labels[None, :], "float32")
    return same - ops.eye(ops.shape(targets)[0]), 1.0 - same


def _mean(values: Any, weights: Any) -> Any:
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1.0)
