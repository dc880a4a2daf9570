"""What comes of one generation, in plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token with its log probability in nats."""

    piece: bytes
    """Its bytes, which need not be valid UTF-8."""
    logprob: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token that was drawn, and the likeliest at its place."""

    token: Candidate
    top: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The generation has a place."""

    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """Some text. A token's text may come later than the token."""

    text: str
    tokens: int
    """Drawn since the last delta."""
    logprobs: tuple[Drawn, ...] = ()
    """One for each token, where asked for."""


@dataclass(frozen=True, slots=True)
class Event:
    """A condition held whose scope tells so."""

    name: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The generation is over."""

    reason: str
    """OpenAI's word: `stop`, `length`, or `content_filter` where an Abort held."""
    completion_tokens: int
    """The end-of-text token included."""
    cached_tokens: int
    """Of the prompt."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of its choice: `abort_message`, `report`, `receipt`."""


Piece = Started | Delta | Event | Ended
