"""The time that a job has worked, breaks left out, and what it still has."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Counts from `spent`, the seconds worked before a break, towards `limit`."""

    def __init__(self, limit: float, spent: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._spent, self._now = spent, now
        self._started = now()

    @property
    def spent(self) -> float:
        """Seconds worked."""
        return self._spent + self._now() - self._started

    @property
    def left(self) -> float:
        """Seconds to the limit; negative past it."""
        return self.limit - self.spent

    def affords(self, seconds: float) -> bool:
        """Whether so much work still fits."""
        return seconds <= self.left
