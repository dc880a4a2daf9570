"""Quick jobs first: the other jobs of a worker stand aside while quick ones run, for they share an engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from services.autosteer.spec import Prompt
from services.autosteer.upstream import Ask, Contrasted, Inference, Likelihood, Served
from services.steering.edits import Steering

LONGEST_WAIT = 60.0
"""Seconds that one call of another job stands aside: a stream of quick jobs slows the others, it does not stop them."""


class RightOfWay:
    """Who may ask inference now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quick = 0
        self._clear = asyncio.Event()
        self._clear.set()
        self._since = self._taken = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A quick job runs meanwhile."""
        if not self._quick:
            self._clear.clear()
            self._since = self._clock()
        self._quick += 1
        try:
            yield
        finally:
            self._quick -= 1
            if not self._quick:
                self._taken += self._clock() - self._since
                self._clear.set()

    async def free(self) -> None:
        """Returns when no quick job runs, or after the longest wait."""
        if not self._clear.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._clear.wait(), LONGEST_WAIT)

    def now(self) -> float:
        """Seconds of a clock that stands still while quick jobs run: what others wait is not their work."""
        held = self._clock() - self._since if self._quick else 0.0
        return self._clock() - self._taken - held


class StandingAside:
    """Inference for a job that is not quick. All methods: see upstream.Inference."""

    def __init__(self, inference: Inference, way: RightOfWay) -> None:
        self._inference, self._way = inference, way

    async def served(self, model: str, sae: str) -> Served:
        """Asked at once: it costs nothing."""
        return await self._inference.served(model, sae)

    async def generate(self, ask: Ask) -> str:
        """Where the way is free."""
        await self._way.free()
        return await self._inference.generate(ask)

    async def score(self, texts: Sequence[tuple[Prompt, str]], steering: Steering) -> list[Likelihood]:
        """Where the way is free."""
        await self._way.free()
        return await self._inference.score(texts, steering)

    async def contrast(
        self, positive: Sequence[Prompt], negative: Sequence[Prompt], top_k: int
    ) -> list[Contrasted]:
        """Where the way is free."""
        await self._way.free()
        return await self._inference.contrast(positive, negative, top_k)

    async def activations(self, prompts: Sequence[Prompt], features: Sequence[int]) -> list[dict[int, float]]:
        """Where the way is free."""
        await self._way.free()
        return await self._inference.activations(prompts, features)
