"""Answers as OpenAI's routes return them: whole, or chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from services.gateway.openai.logprobs import Offsets
from services.gateway.openai.pieces import Delta, Drawn, Ended, Event, Piece, Started
from services.gateway.openai.samples import Tokens


@dataclass(slots=True)
class Progress:
    """How far one answer is."""

    tokens: int = 0
    """Drawn so far."""
    chunks_until: int = 0
    """One past the last chunk's `gf_token_index`."""
    events: dict[str, None] = field(default_factory=dict)
    """Names to be told with what comes next, each once."""
    offsets: Offsets = field(default_factory=Offsets)


class Form(ABC):
    """How one of the contracts shows an answer."""

    whole_object: str
    chunk_object: str

    @abstractmethod
    def whole(self, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """The fields of a whole choice; `drawn` is None where no log probabilities were asked for."""

    @abstractmethod
    def part(self, progress: Progress, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """The fields of a chunk's choice."""

    def opening(self) -> dict[str, Any] | None:
        """The fields of the choice of a chunk before the first, if the contract has one."""
        return None


@dataclass(frozen=True, slots=True)
class Heading:
    """What every chunk of an answer says."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    fingerprint: str

    def over(self, kind: str, choices: Sequence[dict[str, Any]], events: Sequence[str]) -> dict[str, Any]:
        """An object with its choices, and the names of the events that came."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "gf_event_names": list(events) or None,
            "choices": choices,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request shapes its answer."""

    answers: int
    wants_logprobs: bool
    counts_usage: bool
    """Whether a stream ends with a count of tokens."""


class Chunks:
    """The chunks of a stream."""

    def __init__(self, heading: Heading, form: Form, asked: Asked) -> None:
        self._heading, self._form, self._asked = heading, form, asked
        self._progress = [Progress() for _ in range(asked.answers)]
        self._is_open = False

    @property
    def counts_usage(self) -> bool:
        """Whether the last chunk counts tokens."""
        return self._asked.counts_usage

    def after(self, number: int, piece: Piece) -> Iterator[dict[str, Any]]:
        """The chunks that follow from a piece, none or more."""
        progress = self._progress[number]
        match piece:
            case Delta(text, tokens, drawn):
                if text or progress.events or (drawn and self._asked.wants_logprobs):
                    yield self._chunk(number, text, drawn)
                progress.tokens += tokens
            case Event(name):
                progress.events[name] = None
            case Ended():
                yield self._chunk(number, "", (), piece)
            case Started() if not self._is_open:
                self._is_open = True
                opening = self._form.opening()
                if opening is not None:  # for all at once and in order, as OpenAI's SDK needs it
                    for each in range(self._asked.answers):
                        yield self._over({"index": each, **opening, "finish_reason": None})

    def usage(self, tokens: Tokens) -> dict[str, Any]:
        """The last chunk of a stream that counts tokens."""
        return {**self._heading.over(self._form.chunk_object, [], ()), "usage": tokens.usage}

    def _chunk(
        self, number: int, text: str, drawn: Sequence[Drawn], ended: Ended | None = None
    ) -> dict[str, Any]:
        progress = self._progress[number]
        place = max(progress.tokens, progress.chunks_until)  # Ember's SDK drops a place that comes twice
        progress.chunks_until = place + 1
        events, progress.events = list(progress.events), {}
        choice = {
            "index": number,
            **self._form.part(progress, text, drawn if drawn and self._asked.wants_logprobs else None),
            "gf_token_index": place,
            "finish_reason": None if ended is None else ended.reason,
        }
        if ended is not None:
            choice |= ended.extra
        return self._over(choice, events)

    def _over(self, choice: dict[str, Any], events: Sequence[str] = ()) -> dict[str, Any]:
        chunk = self._heading.over(self._form.chunk_object, [choice], events)
        if self._asked.counts_usage:
            chunk["usage"] = None
        return chunk


async def streamed(
    pieces: AsyncGenerator[tuple[int, Piece]], chunks: Chunks, tokens: Tokens
) -> AsyncGenerator[dict[str, Any]]:
    """All chunks of a stream."""
    async with aclosing(pieces):
        async for number, piece in pieces:
            for chunk in chunks.after(number, piece):
                yield chunk
    if chunks.counts_usage:
        yield chunks.usage(tokens)


@dataclass(slots=True)
class _Whole:
    """One answer as it is put together."""

    text: list[str] = field(default_factory=list)
    drawn: list[Drawn] = field(default_factory=list)
    ended: Ended | None = None


async def whole(
    pieces: AsyncGenerator[tuple[int, Piece]], heading: Heading, form: Form, asked: Asked, tokens: Tokens
) -> dict[str, Any]:
    """All answers, when the last of them has ended."""
    answers = [_Whole() for _ in range(asked.answers)]
    events: dict[str, None] = {}
    async with aclosing(pieces):
        async for number, piece in pieces:
            match piece:
                case Delta(text, _, drawn):
                    answers[number].text.append(text)
                    answers[number].drawn += drawn
                case Event(name):
                    events[name] = None
                case Ended():
                    answers[number].ended = piece
    choices = [_choice(n, each, form, asked) for n, each in enumerate(answers)]
    return {**heading.over(form.whole_object, choices, list(events)), "usage": tokens.usage}


def _choice(number: int, answer: _Whole, form: Form, asked: Asked) -> dict[str, Any]:
    fields = form.whole("".join(answer.text), answer.drawn if asked.wants_logprobs else None)
    ended = answer.ended
    reason, extra = (ended.reason, ended.extra) if ended else ("stop", {})
    return {"index": number, **fields, "finish_reason": reason, **extra}
