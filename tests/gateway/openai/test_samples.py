"""Answers side by side, and what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.gateway.openai.pieces import Delta, Ended, Piece, Started
from services.gateway.openai.samples import Tokens, together

END = Ended("stop", 3, 2)


class Scripted:
    """Streams that say what they are told to, and note that they were closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def of(self, *pieces: Piece, error: Exception | None = None) -> AsyncGenerator[Piece]:
        """One of them; without an end of its own it waits for ever."""
        try:
            for piece in pieces:
                yield piece
            if error is not None:
                raise error
            if END not in pieces:
                await asyncio.Event().wait()
        finally:
            self.closed += 1


async def test_pieces_keep_their_order_within_an_answer() -> None:
    streams = [Scripted().of(*(Delta(f"{n}{k}", 1) for k in range(50)), END) for n in range(3)]
    found = [pair async for pair in together(streams)]
    for number in range(3):
        own = [piece for n, piece in found if n == number]
        assert own == [*(Delta(f"{number}{k}", 1) for k in range(50)), END]


async def test_an_error_of_one_answer_ends_them_all() -> None:
    scripted = Scripted()
    streams = [scripted.of(Started(1)), scripted.of(error=ValueError("one"))]
    with pytest.raises(ValueError, match="one"):
        async for _ in together(streams):
            pass
    assert scripted.closed == 2


@pytest.mark.parametrize("answers", [1, 3])
async def test_leaving_closes_every_answer(answers: int) -> None:
    scripted = Scripted()
    async with aclosing(together([scripted.of(Started(1)) for _ in range(answers)])) as coming:
        for _ in range(answers):
            await anext(coming)
    assert scripted.closed == answers


def test_a_prompts_tokens_count_once_and_what_was_drawn_counts_before_the_end() -> None:
    tokens = Tokens(samples=2)
    for number in range(4):
        tokens.take(number, Started(10))
        tokens.take(number, Delta("ab", 2))
    assert tokens.total == 2 * 10 + 4 * 2
    for number in range(4):
        tokens.take(number, END)
    assert tokens.usage == {
        "prompt_tokens": 20,
        "completion_tokens": 12,
        "total_tokens": 32,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
