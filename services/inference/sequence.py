"""What the engine keeps for each request while it waits and runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from jaxtyping import Float
from torch import Tensor

from services.errors import HearthError
from services.inference.compiled import CompiledSteering
from services.inference.hooks import SteeredSequence
from services.inference.kv import Lane
from services.inference.report import ReportBook
from services.inference.sampling import Sampling, TokenChoice
from services.inference.text import TextStream


class FinishReason(Enum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Started:
    """The request has a place."""

    prompt_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Delta:
    """Some text; `choices` are the tokens drawn since the last delta."""

    text: str
    choices: tuple[TokenChoice, ...]


@dataclass(frozen=True, slots=True)
class Triggered:
    """A scope acted at a token."""

    event: str
    position: int
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: in the queue, from admission to the first token, from there to the last."""

    queue: float
    prefill: float
    decode: float


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer: its text, and the tokens that were drawn."""

    text: str = ""
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The generation has ended."""

    reason: FinishReason
    stop: str
    abort_message: str
    completion_tokens: int
    cached_tokens: int
    times: Times
    report: ReportBook | None
    compiled: CompiledSteering | None
    scope_counts: dict[tuple[int, ...], tuple[int, int]]
    said: Said | None = None
    """The whole answer, where a receipt is made of it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A prompt was read to its end: a request without generation is done. `logits` where they were asked for."""

    logits: Float[Tensor, "rows vocabulary"] | None
    logprobs: Float[Tensor, " rows"] | None = None
    """Of the token that follows each of these rows, in nats, where that was asked for instead."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended with an error."""

    error: HearthError


Event = Started | Delta | Triggered | Finished | Read | Failed
Sink = Callable[[list[Event]], None]


@dataclass(slots=True, eq=False)
class Sequence:
    """One request. Generates if `sampling` is given, else its prompt is only read."""

    tokens: list[int]
    """The prompt, then what was drawn; a shadow shares its leader's list."""
    prompt_tokens: int
    steered: SteeredSequence
    sink: Sink
    sampling: Sampling | None = None
    owner: str = ""
    deadline: float | None = None
    """time.monotonic() after which it is dropped."""
    fingerprint: str | None = None
    """Names the steering of the prompt's tokens; None forbids reuse of the upper blocks."""
    last_layer: int | None = None
    """The last block that it needs; None for all."""
    logit_rows: tuple[int, ...] = ()
    """Prompt positions whose next-token logits a read wants."""
    scores_next: bool = False
    """Whether of each of these rows only the log probability of the token that follows is wanted."""
    is_shadow: bool = False
    """Whether it only runs ahead of another."""
    shadow: Sequence | None = None
    """The same tokens unsteered, run ahead for their entropies; it has no request of its own."""
    text: TextStream = field(default_factory=TextStream)
    lane: Lane | None = None
    begun: bool = False
    """Whether it has what the prefix cache knew of its prompt, and runs."""
    computed: int = 0
    """Tokens whose keys and values stand in the lane."""
    cached_lower: int = 0
    """Tokens whose lower blocks came from the prefix cache."""
    cached_residual: Tensor | None = None
    """Their unedited residual at the split, for tokens from `cached_start` on."""
    cached_start: int = 0
    chain: list[bytes] = field(default_factory=list)
    tile_residual: dict[int, Tensor] = field(default_factory=dict)
    entropies: list[float] = field(default_factory=list)
    """For a shadow: the entropy of the next token after each of its tokens."""
    logits: list[Tensor] = field(default_factory=list)
    held: list[TokenChoice] = field(default_factory=list)
    """Drawn but not yet shown: an Abort may still take them."""
    drawn: int = 0
    ended: tuple[FinishReason, str] | None = None
    """Set when it ends after its last token has been run through the model."""
    cancelled: bool = False
    arrived: float = field(default_factory=time.monotonic)
    admitted: float = 0.0
    first_token: float = 0.0

    @property
    def generates(self) -> bool:
        """Whether it draws tokens."""
        return self.sampling is not None

    @property
    def prefilling(self) -> bool:
        """Whether prompt tokens are left to run."""
        return self.computed < self.prompt_tokens

    @property
    def unread(self) -> int:
        """The first prompt tokens of which nothing is asked but keys and values."""
        return min(self.logit_rows, default=self.prompt_tokens)

    @property
    def decoding(self) -> bool:
        """Whether its newest token is next."""
        return not self.prefilling and self.computed < len(self.tokens)

    @property
    def checks_last_token(self) -> bool:
        """Whether even the last token must be run, for scopes may act on it."""
        compiled = self.steered.compiled
        return compiled is not None and bool(compiled.scopes)

    @property
    def ready_until(self) -> int:
        """The position up to which it may run: with a shadow, the entropy before each token must be known."""
        return len(self.tokens) if self.shadow is None else self.shadow.computed + 1

    def nudge_gate(self, start: int, length: int) -> Float[np.ndarray, " tokens"] | None:
        """1 at tokens where the entropy gate allows nudges; None without a gate."""
        if self.shadow is None or self.steered.compiled is None:
            return None
        steering = self.steered.compiled.steering
        low = -np.inf if steering.min_nudge_entropy is None else steering.min_nudge_entropy
        high = np.inf if steering.max_nudge_entropy is None else steering.max_nudge_entropy
        entropies = self.shadow.entropies
        before = np.array([entropies[p - 1] if p else np.nan for p in range(start, start + length)])
        return ((before >= low) & (before <= high)).astype(np.float32)
