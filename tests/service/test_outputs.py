from __future__ import annotations

import pytest

from service.outputs import display_name, output_stem


@pytest.mark.parametrize(
    ("source", "stem", "name"),
    [
        ("a/match.final.mp4", "match.final", "match.final.mp4"),
        ("-dash-.mp4", "-dash-", "-dash-.mp4"),
        ("0", "camera0", "0"),
        ("file:///home/me/%D0%BC%D0%B0%D1%82%D1%87%201.mp4", "матч 1", "матч 1.mp4"),
        ("rtsp://me:secret@cam:554/hall/1", "cam_hall_1", "rtsp://***@cam:554/hall/1"),
        ("http://cam/live.mjpg", "cam_live", "http://cam/live.mjpg"),
        ("http://cam/?action=stream", "cam_103c27", "http://cam/?***"),
        ("http://cam/live?camera=1&token=secret", "cam_live_6620f7", "http://cam/live?***"),
        ("http://cam/live?camera=2&token=secret", "cam_live_0e2015", "http://cam/live?***"),
        ("http://cam/live?" + "s" * 5000, "cam_live_606f9c", "http://cam/live?***"),
    ],
)
def test_names(source: str, stem: str, name: str) -> None:
    """Outputs are named after the source, and no password gets into a name."""
    assert (output_stem(source), display_name(source)) == (stem, name)
