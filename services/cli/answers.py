"""What the server answers, as plain data; wire.py makes it, render/ shows it, `--json` prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.steering.edits import Edit


@dataclass(frozen=True, slots=True)
class SaeInfo:
    """A served SAE; see hearth.v1.Sae."""

    id: str
    hook_point: str
    layer: int
    feature_count: int
    architecture: str
    dtype: str
    median_norm: float
    strength_constant: float
    has_scales: bool
    weights_digest: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A served model; see hearth.v1.Model."""

    id: str
    context_length: int
    vocabulary_size: int
    d_model: int
    layer_count: int
    dtype: str
    has_chat_template: bool
    weights_digest: str
    saes: tuple[SaeInfo, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `text` shows bytes that are no whole character as `<E2>`."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Where a message lies: its tokens, and those of its content, ends excluded."""

    message: int
    start: int
    end: int
    content_start: int
    content_end: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised prompt."""

    tokens: tuple[Token, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The generation has begun."""

    prompt_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Delta:
    """Some text."""

    text: str


@dataclass(frozen=True, slots=True)
class Triggered:
    """A scope's condition held at a position."""

    event: str
    position: int
    scope: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens and time, in seconds."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Speed after the first token; 0 where it cannot be told."""
        return (self.completion_tokens - 1) / self.decode_seconds if self.decode_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Values:
    """One value in all units."""

    raw: float
    strength: float
    activation: float


@dataclass(frozen=True, slots=True)
class EditReport:
    """One edit, asked and delivered; see hearth.v1.EditReport."""

    edit: Edit
    scope: tuple[int, ...]
    requested: Values
    delivered: Values
    tokens: int
    activation_before: float
    activation_after: float


@dataclass(frozen=True, slots=True)
class ScopeReport:
    """How often a scope acted."""

    scope: tuple[int, ...]
    tried: int
    held: int


@dataclass(frozen=True, slots=True)
class Report:
    """What steering did; see hearth.v1.SteeringReport."""

    edits: tuple[EditReport, ...]
    scopes: tuple[ScopeReport, ...]
    mean_relative_delta: float
    max_relative_delta: float
    clipped_tokens: int
    edited_tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The generation has ended; `reason` is `stop`, `length` or `aborted`."""

    reason: str
    stop: str
    abort_message: str
    usage: Usage
    report: Report | None
    receipt: dict[str, Any] | None = None
    """A hearth.v1.Receipt as JSON, where it was asked for."""


Event = Started | Delta | Triggered | Finished


@dataclass(slots=True)
class Answer:
    """An answer as it grows."""

    title: str
    steered: bool = False
    text: str = ""
    started: Started | None = None
    events: list[Triggered] = field(default_factory=list)
    finished: Finished | None = None

    def take(self, event: Event) -> None:
        """Adds an event."""
        match event:
            case Started():
                self.started = event
            case Delta(text):
                self.text += text
            case Triggered():
                self.events.append(event)
            case Finished():
                self.finished = event


@dataclass(frozen=True, slots=True)
class Activation:
    """A feature that fires at a token; the value is raw."""

    feature: int
    value: float


@dataclass(frozen=True, slots=True)
class InspectedToken:
    """A token and what fires at it, largest first."""

    position: int
    token: Token
    sink: bool
    activations: tuple[Activation, ...]


@dataclass(frozen=True, slots=True)
class FeatureContrast:
    """How one feature tells two sets apart; see hearth.v1.FeatureContrast."""

    feature: int
    mean_positive: float
    mean_negative: float
    auroc: float
    effect_size: float
    p_value: float
    q_value: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """Features of each side, most telling first."""

    positive: tuple[FeatureContrast, ...]
    negative: tuple[FeatureContrast, ...]
    tested_features: int


@dataclass(frozen=True, slots=True)
class TokenLogit:
    """A candidate for the next token."""

    token: Token
    logit: float
    logprob: float


@dataclass(frozen=True, slots=True)
class Logits:
    """Next-token logits after a position; entropy in nats."""

    position: int
    top: tuple[TokenLogit, ...]
    named: tuple[TokenLogit, ...]
    entropy: float


@dataclass(frozen=True, slots=True)
class PositionEffect:
    """A feature's effect at one position."""

    position: int
    activation: float
    effect: float


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """A feature's effect on a logit."""

    feature: int
    effect: float
    positions: tuple[PositionEffect, ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """What raised or lowered a token's logit; see hearth.v1.AttributeResponse."""

    target: Token
    position: int
    logit: float
    features: tuple[FeatureEffect, ...]
    feature_effect: float
    error_effect: float
    bias_effect: float


@dataclass(frozen=True, slots=True)
class Revision:
    """What a feature was called by a person; see hearth.v1.FeatureRevision."""

    revision: int
    label: str
    description: str
    previous_label: str
    owner: str
    note: str
    created: datetime
    """UTC."""
