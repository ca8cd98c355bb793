from __future__ import annotations

from service.summary import timecode


def test_timecode() -> None:
    """Times in the table round and carry like a clock."""
    assert [timecode(t) for t in (0, 59.9996, 3599.9999)] == ["00:00.000", "01:00.000", "1:00:00.000"]
