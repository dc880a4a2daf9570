"""Answers that are generated side by side, and the tokens that they take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from services.gateway.callers import Caller
from services.gateway.openai.pieces import Delta, Ended, Piece, Started


@dataclass(slots=True)
class Tokens:
    """Counts as pieces come, so that what was generated counts even where the caller leaves."""

    samples: int
    """Answers to each prompt; its tokens count once."""
    _prompts: dict[int, int] = field(default_factory=dict)
    _cached: dict[int, int] = field(default_factory=dict)
    _drawn: dict[int, int] = field(default_factory=dict)

    def take(self, number: int, piece: Piece) -> None:
        """Counts a piece of an answer."""
        match piece:
            case Delta(_, tokens, _):
                self._drawn[number] = self._drawn.get(number, 0) + tokens
            case Started(prompt_tokens):
                self._prompts[number // self.samples] = prompt_tokens
            case Ended():
                self._drawn[number] = piece.completion_tokens
                if number % self.samples == 0:
                    self._cached[number] = piece.cached_tokens

    @property
    def total(self) -> int:
        """Tokens of prompts and answers."""
        return sum(self._prompts.values()) + sum(self._drawn.values())

    @property
    def usage(self) -> dict[str, Any]:
        """As OpenAI counts."""
        return {
            "prompt_tokens": sum(self._prompts.values()),
            "completion_tokens": sum(self._drawn.values()),
            "total_tokens": self.total,
            "prompt_tokens_details": {"cached_tokens": sum(self._cached.values())},
        }


async def counted(
    streams: Sequence[AsyncGenerator[Piece]], tokens: Tokens, caller: Caller
) -> AsyncGenerator[tuple[int, Piece]]:
    """Pieces of all streams with their stream's number; the caller is charged at the end, however it comes."""
    try:
        async with aclosing(together(streams)) as coming:
            async for number, piece in coming:
                tokens.take(number, piece)
                yield number, piece
    finally:
        await caller.charge(tokens.total)


async def together(streams: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[tuple[int, Piece]]:
    """Pieces of all streams as they come. What one raises ends all of them; so does leaving."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for piece in only:
                yield 0, piece
        return
    # Bounded, so that a slow reader slows the calls: inference then merges what waits.
    coming: asyncio.Queue[tuple[int, Piece | _Over]] = asyncio.Queue(len(streams))
    pumps = [asyncio.create_task(_pump(n, stream, coming)) for n, stream in enumerate(streams)]
    try:
        running = len(streams)
        while running:
            number, came = await coming.get()
            if not isinstance(came, _Over):
                yield number, came
            elif came.error is not None:
                raise came.error
            else:
                running -= 1
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Over:
    """A stream has ended, with an error or well."""

    error: Exception | None = None


async def _pump(
    number: int, stream: AsyncGenerator[Piece], into: asyncio.Queue[tuple[int, Piece | _Over]]
) -> None:
    over = _Over()
    async with aclosing(stream):
        try:
            async for piece in stream:
                await into.put((number, piece))
        except Exception as error:
            over = _Over(error)
    await into.put((number, over))
