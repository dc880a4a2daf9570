"""What calls return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

from hearth_client.features import Feature, FeatureGroup
from hearth_client.v1 import autosteer_service_pb2, inference_service_pb2

if TYPE_CHECKING:
    from hearth_client.conditions import Condition
    from hearth_client.variant import FeatureEdits, Variant


class ChatMessage(TypedDict):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt: TypeAlias = "Sequence[ChatMessage] | str"
"""What the model reads: a chat, or plain text."""
FinishReason = Literal["stop", "length", "aborted"]


@dataclass(frozen=True, slots=True)
class InferenceContext:
    """What a handler is told."""

    prompt: Prompt
    response_so_far: str
    event: str
    position: int
    """Of the token at which the condition held, from 0 at the first prompt token."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What an answer has gained."""

    content: str
    role: str = "assistant"


@dataclass(frozen=True, slots=True)
class ChunkChoice:
    """The answer in one event of a stream; there is one."""

    delta: Delta
    finish_reason: FinishReason | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of an answer: some text, an event that a scope tells, or its end."""

    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[inference_service_pb2.TokenLogprob, ...] = ()
    event: str | None = None
    """The name of an event; empty for a scope of edits that began to act."""
    position: int | None = None
    """The token at which the event was."""
    finish_reason: FinishReason | None = None
    finished: inference_service_pb2.GenerationFinished | None = field(default=None, repr=False)
    """In the last one: usage, and report and receipt where asked for."""

    @property
    def choices(self) -> tuple[ChunkChoice]:
        """As OpenAI's and Ember's streams spell it."""
        return (ChunkChoice(Delta(self.text), self.finish_reason),)


@dataclass(frozen=True, slots=True)
class Choice:
    """A whole answer; there is one."""

    message: ChatMessage
    finish_reason: FinishReason
    index: int = 0


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """A whole answer."""

    text: str
    finish_reason: FinishReason
    seed: int
    """With the same request and seed the text is the same."""
    events: tuple[Chunk, ...]
    """What scopes told, in order."""
    token_ids: tuple[int, ...]
    logprobs: tuple[inference_service_pb2.TokenLogprob, ...] = field(repr=False)
    finished: inference_service_pb2.GenerationFinished = field(repr=False)
    """With usage, and report and receipt where asked for."""

    @property
    def choices(self) -> tuple[Choice]:
        """As OpenAI's and Ember's answers spell it."""
        return (Choice({"role": "assistant", "content": self.text}, self.finish_reason),)

    @property
    def usage(self) -> inference_service_pb2.Usage:
        """Counts of tokens and time."""
        return self.finished.usage


@dataclass(frozen=True, slots=True)
class FeatureActivation:
    """How active a feature is, in activation units."""

    feature: Feature
    activation_strength: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token with the features that are active there, the strongest first."""

    text: str
    id: int
    activations: tuple[FeatureActivation, ...]


Aggregate = Literal["frequency", "mean", "max", "sum"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """The tokens of a prompt, and what is active at them."""

    tokens: tuple[Token, ...]

    def top(self, k: int = 5, *, aggregate_by: Aggregate = "max") -> list[FeatureActivation]:
        """The strongest features over all tokens; `frequency` counts tokens, `mean` is over those that count."""
        found: dict[Feature, list[float]] = {}
        for token in self.tokens:
            for each in token.activations:
                found.setdefault(each.feature, []).append(each.activation_strength)
        totals: dict[Aggregate, Callable[[list[float]], float]] = {
            "frequency": len,
            "mean": lambda values: sum(values) / len(values),
            "max": max,
            "sum": sum,
        }
        by_feature = [FeatureActivation(each, totals[aggregate_by](values)) for each, values in found.items()]
        return sorted(by_feature, key=lambda each: -each.activation_strength)[:k]


@dataclass(frozen=True, slots=True)
class Contrast:
    """What tells two sets of chats apart; unpacks into the features of the first and of the second."""

    features_1: FeatureGroup
    features_2: FeatureGroup
    statistics: Mapping[Feature, inference_service_pb2.FeatureContrast] = field(repr=False)
    """AUROC, effect size and q-value of each; the second set is the positive one."""

    def __iter__(self) -> Iterator[FeatureGroup]:
        return iter((self.features_1, self.features_2))


@dataclass(frozen=True, slots=True)
class FeatureAttribution:
    """How far a feature raised or lowered a token's logit, and where."""

    feature: Feature
    value: float
    """The change of the logit, to first order."""
    positions: tuple[tuple[int, float, float], ...]
    """Position, activation in activation units, and effect at each, the largest first."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Why a token was likely."""

    target: str
    logit: float
    features: tuple[FeatureAttribution, ...]
    """The largest effect first."""


@dataclass(frozen=True, slots=True)
class AutoSteered:
    """What an auto-steer job found."""

    edits: FeatureEdits
    """The best edits found; worth little without the verdict `use`."""
    verdict: Literal["use", "prompt_instead", "no_safe_steer"] | None
    """None where the job was ended before the edits were tested on held-out prompts."""
    reason: str
    score: float
    cut_short: tuple[str, ...]
    """What the budget left out."""
    job: autosteer_service_pb2.AutoSteerJob = field(repr=False)


@dataclass(frozen=True, slots=True)
class AutoCondition:
    """A condition that was fitted, and how well it does on texts that it was not fitted on."""

    condition: Condition
    features: FeatureGroup
    threshold: float
    auroc: float
    true_positive_rate: float
    false_positive_rate: float


@dataclass(frozen=True, slots=True)
class SavedVariant:
    """A variant that is kept on the server."""

    id: str
    name: str
    description: str
    etag: str
    """Changes whenever the variant does."""
    variant: Variant
    deleted: bool = False
