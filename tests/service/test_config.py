"""How options are read that the command line and the API share."""

from __future__ import annotations

import pytest

from service.api.schemas import ClipOptionsIn
from service.commands.options import names


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("tennis,badminton", ("tennis", "badminton")),
        (" tennis , ,badminton,\n", ("tennis", "badminton")),
        ('run,"jump, high", 24" gun', ("run", "jump, high", '24" gun')),
        (",", ()),
        ("", ()),
    ],
)
def test_every_label_can_be_named(text: str, labels: tuple[str, ...]) -> None:
    """Also one with a comma, which a folder of images may have in its name; the same way everywhere."""
    assert names(text) == labels
    assert ClipOptionsIn(labels=text).options().labels == labels
