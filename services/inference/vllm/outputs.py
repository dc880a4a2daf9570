"""What vLLM says of a step, as the engine understands it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.sampling import Sampling, TokenChoice
from services.inference.sequence import Sequence


def choices(output: Any, sampling: Sampling | None) -> list[TokenChoice]:
    """The tokens drawn since the last step."""
    assert sampling is not None
    drawn = output.outputs[0]
    tokens = list(drawn.token_ids)
    if not sampling.wants_logprobs:
        return [TokenChoice(token) for token in tokens]
    return [
        _with_logprobs(token, logprobs, sampling.top_logprobs)
        for token, logprobs in zip(tokens, drawn.logprobs, strict=True)
    ]


def _with_logprobs(token: int, logprobs: Any, count: int) -> TokenChoice:
    best = sorted(((each.rank, number) for number, each in logprobs.items()), key=lambda pair: pair[0])
    top = tuple((number, float(logprobs[number].logprob)) for rank, number in best if rank <= count)
    return TokenChoice(token, float(logprobs[token].logprob), top)


def scores(sequence: Sequence, prompt_logprobs: Any) -> Float[Tensor, " rows"]:
    """The log probability of the token that follows each row that is asked for."""
    follow = [(row + 1, sequence.tokens[row + 1]) for row in sequence.logit_rows]
    return torch.tensor([prompt_logprobs[place][token].logprob for place, token in follow])
