"""What passes between the engine and vLLM's workers: a request's order on the way in, news of it on the way out.

An order travels with the request itself, in `SamplingParams.extra_args`: a worker never sees a token of a request
before it has the order. News is fetched by a call to all workers between two steps, for requests that have any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from services.inference.sampling import Sampling
from services.steering.edits import Steering

ORDER = "hearth"
"""The key in `extra_args`."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker must know of a request."""

    id: str
    prompt_tokens: int
    steering: Steering | None = None
    """With SAE ids filled in; None where nothing is changed or tested."""
    report: bool = False
    captures: tuple[int, ...] = ()
    """Blocks whose edited output is wanted."""
    keeps_logits: bool = False
    """Whether the logits after the last token are wanted."""
    sampling: Sampling | None = None
    """How tokens are drawn; None where none is."""

    @property
    def watched(self) -> bool:
        """Whether its tokens must all be run, for something is observed at them."""
        scopes = self.steering is not None and bool(self.steering.scopes)
        return scopes or self.report or bool(self.captures)


def order_of(extra_args: dict[str, Any] | None) -> Order | None:
    """The order of a request, if it is one of ours."""
    return (extra_args or {}).get(ORDER)


@dataclass(frozen=True, slots=True)
class Captured:
    """A run of tokens of a captured block."""

    layer: int
    h: Float[Tensor, "tokens d_model"]
    live: Bool[Tensor, " tokens"]


@dataclass(frozen=True, slots=True)
class EditNumbers:
    """Sums of one edit's report; `number` counts the edits of the block's plan."""

    layer: int
    number: int
    tokens: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class ReportNumbers:
    """A worker's part of a request's report: that of its own blocks."""

    edits: tuple[EditNumbers, ...]
    relative_sum: float
    relative_max: float
    rows: int
    clipped: frozenset[int]
    edited: frozenset[int]


@dataclass(slots=True)
class News:
    """What happened to a request since the last look, on the blocks of one worker."""

    triggers: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Position and path of scopes that acted."""
    scopes: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)
    """By path: at how many tokens each scope was tried and acted, so far."""
    captured: list[Captured] = field(default_factory=list)
    logits: Float[Tensor, " vocabulary"] | None = None
    report: ReportNumbers | None = None
    """Of a request that ends."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one worker holds of the model."""

    tensor_rank: int
    pipeline_rank: int
    layers: tuple[int, ...]
    device: str
