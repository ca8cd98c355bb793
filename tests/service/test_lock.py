"""One process at a time in a folder."""

from pathlib import Path

import pytest

from service.cli import status_of
from service.errors import StorageError
from service.lock import only_one

TAKEN = StorageError("taken")


def test_a_folder_is_free_again_after_its_holder(tmp_path: Path) -> None:
    """And taken while there is one."""
    with only_one(tmp_path, TAKEN), pytest.raises(StorageError, match="taken"), only_one(tmp_path, TAKEN):
        pass
    with only_one(tmp_path, TAKEN):
        pass


def test_a_second_service_does_not_touch_the_data_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would end the events of the first and work on its clips; it says in one line what to do instead."""
    with only_one(tmp_path, TAKEN):
        assert status_of(["serve", "--data", str(tmp_path), "--port", "0"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"another service works in the folder {tmp_path}; choose another --data")
    (tmp_path / "file").touch()
    assert status_of(["serve", "--data", str(tmp_path / "file" / "x"), "--port", "0"]) == 2
    assert "cannot use the folder" in capsys.readouterr().err
