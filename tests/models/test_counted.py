"""Numbers of things in messages."""

from models.counted import counted


def test_one_thing_is_told_in_the_singular() -> None:
    """And every other number in the plural."""
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
