"""What training and judging need beyond serving: the extra ``train``."""

from __future__ import annotations

from importlib.util import find_spec

from models.errors import ModelError

LIBRARIES = ("jinja2", "matplotlib", "scipy", "sklearn")


def require_train_extra() -> None:
    """Raise ModelError where a library is missing that would else be missed when the training is done."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ModelError(f"{', '.join(missing)} not found; run: pip install 'video-events[train]'")
