"""Requests as the service works on them: wire.py makes them from messages, host.py runs them."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.inference.pooling import Pooling
from services.inference.sampling import Sampling
from services.inference.tokenizer import Message
from services.steering.edits import Steering


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A chat, rendered with the model's template."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Token ids as they are."""

    ids: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokenPrompt


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """Asks for text."""

    model: str
    prompt: Prompt
    steering: Steering
    sampling: Sampling
    report: bool = False
    receipt: bool = False
    digests_only: bool = False
    """Whether the receipt names prompt and text by their digests alone."""


@dataclass(frozen=True, slots=True)
class TokenizeCall:
    """Asks for the tokens of a prompt."""

    model: str
    prompt: Prompt
    add_generation_prompt: bool


@dataclass(frozen=True, slots=True)
class LogitsCall:
    """Asks for next-token logits."""

    model: str
    prompt: Prompt
    steering: Steering
    position: int | None
    top_k: int
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScoreCall:
    """Asks how likely texts are after prompts."""

    model: str
    continuations: tuple[tuple[Prompt, str], ...]
    """Prompt and text."""
    steering: Steering
    token_logprobs: bool = False


@dataclass(frozen=True, slots=True)
class InspectCall:
    """Asks for activations at every token."""

    model: str
    prompt: Prompt
    steering: Steering
    sae: str
    feature_indices: tuple[int, ...]
    top_k: int
    add_generation_prompt: bool


@dataclass(frozen=True, slots=True)
class PoolOver:
    """Which tokens of each prompt are pooled, and how."""

    pooling: Pooling
    role: str | None = None
    """Only the content of messages of this role."""
    spans: tuple[tuple[int, int], ...] = ()
    """Only these tokens, one span a prompt; ends exclusive."""


@dataclass(frozen=True, slots=True)
class BatchInspectCall:
    """Asks for one pooled vector for each prompt."""

    model: str
    prompts: tuple[Prompt, ...]
    sae: str
    over: PoolOver
    feature_indices: tuple[int, ...]
    top_k: int


@dataclass(frozen=True, slots=True)
class AttributeCall:
    """Asks which features made a token likely."""

    model: str
    prompt: Prompt
    sae: str
    target: int | None
    baseline: int | None
    position: int | None
    top_k: int


@dataclass(frozen=True, slots=True)
class ContrastCall:
    """Asks what tells two sets apart."""

    model: str
    sae: str
    positive: tuple[Prompt, ...]
    negative: tuple[Prompt, ...]
    over: PoolOver = field(default_factory=lambda: PoolOver(Pooling.MAX))
    top_k: int = 20
