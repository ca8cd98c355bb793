"""One file per network, with named layers and the paper cited; here they are found by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from models.architectures.architecture import FEATURES, HEAD_PREFIX, Architecture, Kind
from models.errors import ModelError
from models.preprocessing import Preprocessing

NAMES = (
    "resnet50",
    "vgg16",
    "alexnet",
    "small_cnn",
    "keyframe_cnn2",
    "keyframe_cnn4",
    "siamese",
    "triplet",
    "lrcn",
    "concat",
    "c3d",
    "small_c3d",
)
IMAGENET = "imagenet:"
"""Before the name of a base of ``keras.applications``."""

__all__ = ["FEATURES", "HEAD_PREFIX", "IMAGENET", "NAMES", "Architecture", "Kind", "build", "find"]


def find(name: str) -> Architecture:
    """The architecture called ``name``; raises ModelError where there is none."""
    if name.startswith(IMAGENET):
        from models.architectures.imagenet_base import architecture as architecture_of

        return architecture_of(name.removeprefix(IMAGENET))
    if name not in NAMES:
        known = ", ".join([*NAMES, f"{IMAGENET}<Name>"])
        raise ModelError(f"no architecture {name!r}; there are {known}")
    architecture: Architecture = import_module(f"models.architectures.{name}").ARCHITECTURE
    return architecture


def build(name: str, classes: int, preprocessing: Preprocessing | None = None, **options: Any) -> Any:
    """Build the network ``name``; see ``Architecture.build``."""
    return find(name).build(classes, preprocessing, **options)
