"""One file per network: a plain function that builds a Keras functional model with named layers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from models.errors import ModelError

NAMES = ("resnet50",)


def build(name: str, classes: int, **options: Any) -> Any:
    """Build the network ``name`` from images of values 0 to 255 (BGR) to (N, ``classes``) logits.

    Raises ModelError for a name or an option that does not exist.
    """
    if name not in NAMES:
        raise ModelError(f"no architecture {name!r}; there are {', '.join(NAMES)}")
    try:
        return import_module(f"models.architectures.{name}").build(classes, **options)
    except TypeError as error:
        raise ModelError(f"architecture {name} does not take {options!r}: {error}") from error
