"""What a served model has done, counted on the event loop where events arrive: the engine's thread counts nothing."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter

FIRST_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Upper bounds of waits for a first token: from a GPU's prefill to a long queue."""
TOKEN_SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the time between two tokens of one answer."""


class Buckets:
    """A histogram without a lock: one thread counts, others may read numbers that are a token old."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket; the last has all beyond the largest bound."""
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class Meters:
    """The counters of one model; the event loop's alone."""

    def __init__(self) -> None:
        self.first_token = Buckets(FIRST_TOKEN_SECONDS)
        self.between_tokens = Buckets(TOKEN_SECONDS)
        self.queued = Buckets(FIRST_TOKEN_SECONDS)
        self.generated_tokens = self.prompt_tokens = self.cached_tokens = 0
        self.ended: Counter[str] = Counter()
        """Generations by why they ended."""

    def began(self, prompt_tokens: int) -> None:
        """A prompt is about to be read."""
        self.prompt_tokens += prompt_tokens

    def came_to_end(self, queued: float, cached_tokens: int) -> None:
        """A generation is whole; it waited so many seconds for a place."""
        self.queued.add(queued)
        self.cached_tokens += cached_tokens


class TokenClock:
    """When the tokens of one request came."""

    __slots__ = ("_began", "_last", "_meters", "tokens")

    def __init__(self, meters: Meters) -> None:
        self._meters, self._began, self._last = meters, time.perf_counter(), 0.0
        self.tokens = 0
        """That have come."""

    def saw(self, tokens: int) -> None:
        """Some tokens came, together if several."""
        now = time.perf_counter()
        if self.tokens:
            self._meters.between_tokens.add((now - self._last) / tokens, tokens)
        else:
            self._meters.first_token.add(now - self._began)
        self._last = now
        self.tokens += tokens
        self._meters.generated_tokens += tokens
