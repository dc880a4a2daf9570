"""What auto-steer asks of inference and features, in plain values. `clients` has the way over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.autosteer.spec import Prompt
from services.steering.edits import Steering


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is served, with one of its SAEs."""

    model: str
    sae: str
    has_chat_template: bool
    feature_count: int
    strength_constant: float
    """A nudge of strength 1 is so many median residual norms."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks for one text."""

    prompt: Prompt
    steering: Steering
    seed: int
    max_tokens: int
    temperature: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a text is."""

    tokens: int
    logprob: float
    """Of the whole text, in nats."""

    @property
    def per_token(self) -> float:
        """Mean log probability of a token, in nats."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class Contrasted:
    """How one feature tells positive from negative texts."""

    index: int
    auroc: float
    effect_size: float
    """Difference of means over the pooled deviation."""
    q_value: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A feature as the catalogue knows it."""

    index: int
    label: str
    density: float
    scale: float
    kind: str = ""
    """`concept`, `lexical`, `syntactic`, `position`, `template` or `dead`; empty where nobody looked."""
    promoted: tuple[str, ...] = ()
    output_score: float | None = None
    steerability: float | None = None
    """How far a fluent nudge makes texts be about it; 0 where none does, None where nobody tried."""
    similarity: float | None = None
    """Of its label to the query, where there was one."""


class Inference(Protocol):
    """The model. Every method raises DependencyUnavailable where it does not answer."""

    async def served(self, model: str, sae: str) -> Served:
        """The model and SAE of these names; the only ones where a name is empty."""

    async def generate(self, ask: Ask) -> str:
        """The text. Leaving the call early ends the generation."""

    async def score(self, texts: Sequence[tuple[Prompt, str]], steering: Steering) -> list[Likelihood]:
        """How likely each text is after its prompt."""

    async def contrast(
        self, positive: Sequence[Prompt], negative: Sequence[Prompt], top_k: int
    ) -> list[Contrasted]:
        """Features that tell the sets apart by the assistant's words (all words of texts that are no chats)."""

    async def activations(self, prompts: Sequence[Prompt], features: Sequence[int]) -> list[dict[int, float]]:
        """For each prompt the largest raw activation of each feature that fires."""


class FeatureCatalogue(Protocol):
    """The catalogue. Every method raises DependencyUnavailable where it does not answer."""

    async def search(self, sae: str, query: str, top_k: int) -> list[Entry]:
        """Features whose labels, contexts or words fit, best first."""

    async def rerank(self, sae: str, query: str, features: Sequence[int]) -> dict[int, float]:
        """The similarity of each feature's label to the query."""

    async def neighbors(self, sae: str, features: Sequence[int], top_k: int) -> list[Entry]:
        """Features that push the model in directions like the centre of these."""

    async def entries(self, sae: str, features: Sequence[int]) -> list[Entry]:
        """What is known of them, in order; those that are not in the catalogue are left out."""
