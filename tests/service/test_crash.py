from __future__ import annotations

from pathlib import Path

from tests.crash import crash


def test_a_subscriber_has_the_log_after_any_crash(tmp_path: Path) -> None:
    """Killed in the middle of events: whoever resumes by position has every message once, in order.

    ``python -m tests.crash`` does the same fifty times.
    """
    outcome = crash(tmp_path, kills=3, seed=2)
    outcome.check()
    assert len(outcome.heard) > 3
    assert outcome.connections >= 3
