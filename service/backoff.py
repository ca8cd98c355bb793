"""When to try again after a failure. Pure: time and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of ``first``, ``first × factor``, ... at most ``limit`` seconds.

    Each is shortened by up to the share ``jitter``, so that what failed together does not come back
    together. Who ran for ``healthy_after`` seconds before failing starts again at ``first``.
    """

    first: float = 0.25
    factor: float = 2.0
    limit: float = 8.0
    jitter: float = 0.25
    healthy_after: float = 30.0

    def attempt(self, previous: int, ran_for: float) -> int:
        """Return the number, from 1, of a failure that came after ``ran_for`` seconds."""
        return 1 if ran_for >= self.healthy_after else previous + 1

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after failure number ``attempt``; ``chance`` is in [0, 1)."""
        wait = self.first
        for _ in range(attempt - 1):  # a power would overflow after months of failures
            if wait >= self.limit:
                break
            wait *= self.factor
        return min(wait, self.limit) * (1 - self.jitter * chance)
