"""A prompt's activations become one number a feature, over the chosen tokens that are no attention sinks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from services.errors import InvalidField
from services.inference.inspection import live_tokens
from services.inference.pooling import Pooling, pool, role_mask, span_mask
from services.inference.sae.base import Architecture
from services.inference.tokenizer import MessageSpan
from tests.inference import reference
from tests.inference.tiny import D_MODEL, random_sae

MEDIAN = 3.0
SAE = random_sae("s", 1, Architecture.RELU, MEDIAN, seed=0)


def stream(tokens: int) -> Tensor:
    """A residual stream with an attention sink at token 7, beside the first."""
    h = torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(0)) * MEDIAN / D_MODEL**0.5
    h[7] *= 100
    return h


def slow_pool(h: Tensor, tokens: list[int], pooling: Pooling) -> Tensor:
    """Token by token, feature by feature; `tokens` are those counted."""
    rows = [reference.encode(SAE, h[token]).tolist() for token in tokens]
    columns = list(zip(*rows, strict=True))
    match pooling:
        case Pooling.MAX:
            return torch.tensor([max(column) for column in columns])
        case Pooling.MEAN:
            return torch.tensor([sum(column) / len(tokens) for column in columns])
        case Pooling.LAST:
            return torch.tensor(rows[-1])


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize(("start", "end"), [(0, 1030), (0, 2), (5, 9), (600, 601), (3, 8)])
def test_pooling_is_over_the_chosen_tokens_and_counts_no_sink(pooling: Pooling, start: int, end: int) -> None:
    h = stream(1030)
    chosen = None if end == 1030 else span_mask(1030, start, end, "spans[0]")
    pooled = pool(SAE.weights, h, live_tokens(h, MEDIAN), chosen, pooling, "prompts[0]")
    counted = [token for token in range(start, end) if token not in (0, 7)]
    torch.testing.assert_close(pooled.values, slow_pool(h, counted, pooling), rtol=1e-5, atol=1e-6)
    assert pooled.values.dtype == torch.float32
    assert pooled.tokens == (1 if pooling is Pooling.LAST else len(counted))


def test_named_features_are_pooled_alone() -> None:
    h = stream(20)
    whole, few = (
        pool(SAE.weights, h, live_tokens(h, MEDIAN), None, Pooling.MEAN, "prompts[0]", features).values
        for features in ((), (30, 4))
    )
    torch.testing.assert_close(few, whole[[30, 4]])


def test_the_content_of_a_roles_messages_is_chosen() -> None:
    spans = [MessageSpan(0, 0, 5, 2, 4), MessageSpan(1, 5, 9, 7, 8), MessageSpan(2, 9, 14, 11, 13)]
    roles = ["user", "assistant", "user"]
    assert role_mask(15, spans, roles, "user").nonzero()[:, 0].tolist() == [2, 3, 11, 12]
    assert role_mask(15, spans, roles, "assistant").nonzero()[:, 0].tolist() == [7]


@pytest.mark.parametrize("pooling", Pooling)
def test_a_prompt_without_a_token_to_pool_over_is_named(pooling: Pooling) -> None:
    h = stream(10)
    live = live_tokens(h, MEDIAN)
    sinks = span_mask(10, 7, 8, "spans[3]")
    with pytest.raises(InvalidField) as only_sinks:
        pool(SAE.weights, h, live, sinks, pooling, "prompts[3]")
    assert only_sinks.value.field == "prompts[3]"
    assert (
        only_sinks.value.message
        == "prompts[3]: no token to pool over: all 1 chosen tokens are attention sinks"
    )
    nobody = role_mask(10, [MessageSpan(0, 0, 10, 2, 9)], ["user"], "assistant")
    with pytest.raises(InvalidField, match=r"positive\[1\]: no token to pool over: none is chosen"):
        pool(SAE.weights, h, live, nobody, pooling, "positive[1]")
    with pytest.raises(InvalidField, match="all 1 chosen tokens are attention sinks"):
        pool(SAE.weights, h[:1], live[:1], None, pooling, "prompts[0]")


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 3), (-1, 3), (0, 11)])
def test_a_span_outside_its_prompt_is_refused(start: int, end: int) -> None:
    with pytest.raises(
        InvalidField, match=rf"spans\[2\]: {start} to {end} is no span of this prompt's 10 tokens"
    ):
        span_mask(10, start, end, "spans[2]")
