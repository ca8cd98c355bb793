"""A newcomer finds every module in the README of its folder, and where a line belongs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("folder", "start"), [("service", "## How it is built"), ("models", "\nmodels/\n")])
def test_every_module_has_its_line(folder: str, start: str) -> None:
    _, _, tree = (ROOT / folder / "README.md").read_text(encoding="utf-8").partition(start)
    modules = [path.name for path in (ROOT / folder).glob("*.py") if not path.name.startswith("__")]
    folders = [f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")]
    named = set(re.findall(r"[\w]+(?:\.py|/)", tree))
    assert set(modules + folders) - named == set()
