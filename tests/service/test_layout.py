"""A newcomer finds every module of the service in its README, and where a line belongs."""

from __future__ import annotations

import re
from pathlib import Path

SERVICE = Path(__file__).parents[2] / "service"


def test_every_module_has_its_line() -> None:
    _, _, tree = (SERVICE / "README.md").read_text(encoding="utf-8").partition("## How it is built")
    modules = [path.name for path in SERVICE.glob("*.py") if not path.name.startswith("__")]
    folders = [f"{path.parent.name}/" for path in SERVICE.glob("*/__init__.py")]
    named = set(re.findall(r"[\w]+(?:\.py|/)", tree))
    assert set(modules + folders) - named == set()
