"""Drawing tokens: one uniform number a token, from a counter-based generator keyed by (seed, position).

No state is shared: the same seed and position give the same draw whatever else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

DEFAULT_MAX_TOKENS = 512
_BLOCK = 256
_CANDIDATES = 256


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; see hearth.v1.Sampling."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0
    top_logprobs: int = 0
    logprobs: bool = False
    ignore_end: bool = False

    @property
    def wants_logprobs(self) -> bool:
        """Whether the chosen token's log probability is returned."""
        return self.logprobs or self.top_logprobs > 0


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A drawn token; log probabilities in nats, before temperature and truncation, where asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments (Philox 4x64)."""
    generator = np.random.Philox(key=np.uint64(seed), counter=[position, 0, 0, 0])
    return float(np.random.Generator(generator).random())


def choose(
    logits: Float[Tensor, "rows vocabulary"], samplings: list[Sampling], positions: list[int]
) -> list[TokenChoice]:
    """Draws a token for each row. A row's result does not depend on the others."""
    tokens = [0] * len(samplings)
    greedy = [n for n, s in enumerate(samplings) if s.temperature == 0 or s.top_k == 1]
    if greedy:
        best = _argmax(logits if len(greedy) == len(samplings) else logits[greedy])
        for n, token in zip(greedy, best.tolist(), strict=True):
            tokens[n] = int(token)
    for n, sampling in enumerate(samplings):
        if sampling.temperature == 0 or sampling.top_k == 1:
            continue
        tokens[n] = _draw(logits[n], sampling, uniform(sampling.seed, positions[n]))
    return [_with_logprobs(logits[n], s, t) for n, (s, t) in enumerate(zip(samplings, tokens, strict=True))]


def _argmax(logits: Tensor) -> Tensor:
    """The first largest; max over values, then a search, is faster than argmax on a CPU."""
    return logits.argmax(-1)


def _draw(row: Float[Tensor, " vocabulary"], sampling: Sampling, u: float) -> int:
    if sampling.top_p >= 1 and sampling.top_k == 0:
        weights = torch.exp((row - row.max()) / sampling.temperature)
        return _invert(weights, u)
    values, order = _candidates(row, sampling)
    weights = torch.exp((values - values[0]) / sampling.temperature)
    if sampling.top_p < 1:
        total = weights.sum() if sampling.top_k else torch.exp((row - values[0]) / sampling.temperature).sum()
        before = weights.cumsum(0) - weights
        weights = weights * (before < sampling.top_p * total)
    return int(order[_invert(weights, u)])


def _candidates(row: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Logits that may be drawn, largest first, with their tokens: top_k, or enough to hold top_p."""
    if sampling.top_k:
        top = row.topk(min(sampling.top_k, len(row)))
        return top.values, top.indices
    top = row.topk(min(_CANDIDATES, len(row)))
    scaled = torch.exp((row - top.values[0]) / sampling.temperature).sum()
    held = torch.exp((top.values - top.values[0]) / sampling.temperature).sum()
    if held >= sampling.top_p * scaled:
        return top.values, top.indices
    full = row.sort(descending=True, stable=True)
    return full.values, full.indices


def _invert(weights: Float[Tensor, " n"], u: float) -> int:
    """Inverse of the cumulative distribution, in two levels: blocks, then inside the block; float64 sums."""
    padded = torch.nn.functional.pad(weights, (0, -len(weights) % _BLOCK)).view(-1, _BLOCK)
    blocks = padded.sum(-1, dtype=torch.float64).cumsum(0)
    target = u * float(blocks[-1])
    block = min(int(torch.searchsorted(blocks, target, right=True)), len(blocks) - 1)
    rest = target - (float(blocks[block - 1]) if block else 0.0)
    inside = padded[block].double().cumsum(0)
    place = min(int(torch.searchsorted(inside, rest, right=True)), _BLOCK - 1)
    while (
        padded[block, place] == 0 and place > 0
    ):  # rounding at the end of a block must not draw what is excluded
        place -= 1
    return block * _BLOCK + place


def _with_logprobs(row: Tensor, sampling: Sampling, token: int) -> TokenChoice:
    if not sampling.wants_logprobs:
        return TokenChoice(token)
    total = row.logsumexp(-1)
    top: tuple[tuple[int, float], ...] = ()
    if sampling.top_logprobs:
        best = row.topk(sampling.top_logprobs)
        top = tuple(zip(best.indices.tolist(), (best.values - total).tolist(), strict=True))
    return TokenChoice(token, float(row[token] - total), top)


def entropy(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, " rows"]:
    """Entropy of the next-token distribution in nats."""
    logs = torch.log_softmax(logits, -1)
    return -(logs.exp() * logs).sum(-1)
