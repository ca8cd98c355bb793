"""Runs that leave out each group in turn."""

import pytest

from models.errors import ExperimentError
from models.experiments.by_group import folders_of


def test_groups_never_share_a_folder() -> None:
    """Or the second one would go on from the network that has seen it."""
    assert folders_of(["cam 1", "cam-2"]) == {"cam-1": "cam 1", "cam-2": "cam-2"}
    with pytest.raises(ExperimentError, match="'cam 1' and 'cam-1' would share a folder"):
        folders_of(["cam 1", "cam-1"])
