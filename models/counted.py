"""Numbers of things in messages."""


def counted(number: int, noun: str) -> str:
    """``1 image`` or ``2 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
