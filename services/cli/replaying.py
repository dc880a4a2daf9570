"""Receipts that are replayed: what is read from files, what came of each, and the order in which they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

AT_ONCE = 8
"""Receipts that run together: a text does not depend on what runs beside it."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the receipt has it."""

    what: str
    """`model`, `weights`, `configuration`, `tokenizer`, `template`, `version`, `dtype`, `device`, `SAE`, `units`,
    `steering`, `sampling`, `prompt` or `text`."""
    then: str
    now: str
    where: str = ""
    """Which SAE, which edit, from which token on."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one receipt."""

    number: int
    """Its place among all, from 1."""
    model: str
    tokens: int
    """Tokens that were drawn now."""
    differences: tuple[Difference, ...]

    @property
    def identical(self) -> bool:
        """Whether the text is the same to the bit, and everything that it was made with too."""
        return not self.differences


async def in_turn(
    receipts: Sequence[R], replay: Callable[[int, R], Awaitable[Replayed]]
) -> AsyncIterator[Replayed]:
    """What comes of each, in their order; AT_ONCE of them run at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, receipt: R) -> Replayed:
        async with places:
            return await replay(number, receipt)

    tasks = [asyncio.create_task(one(number, receipt)) for number, receipt in enumerate(receipts, 1)]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
