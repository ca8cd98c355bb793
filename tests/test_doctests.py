"""The examples in docstrings are what the code does."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("service", "models", "example_clips")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples(file: str) -> None:
    """Each prints what is written below it."""
    found = doctest.testmod(import_module(file.removesuffix(".py").replace("/", ".")))
    assert found.attempted
    assert not found.failed
