"""One engine for every decoder: its logits are transformers' own, steered or not, however a prompt is cut."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, GPT2Config, Qwen2Config

from services.inference.engine import EngineLimits
from services.inference.layers import decoder_layers
from services.inference.sae.base import Architecture
from services.inference.sampling import Sampling
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Scope, Steering
from tests.inference.driver import Request, answer, engine_of
from tests.inference.reference import run
from tests.inference.tiny import Tiny, llama_config, random_sae, residuals, twins

SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.25,
}
CONFIGS = {
    "llama": llama_config(),
    "llama, one kv head": llama_config(num_key_value_heads=1),
    "llama, as many kv heads": llama_config(num_key_value_heads=4),
    "gemma2": Gemma2Config(
        **{**SMALL, "num_hidden_layers": 4},
        head_dim=16,
        sliding_window=48,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=10.0,
        query_pre_attn_scalar=16,
    ),
    "qwen2": Qwen2Config(**SMALL),
    "gpt2": GPT2Config(
        vocab_size=300, n_embd=32, n_layer=4, n_head=4, n_positions=512, initializer_range=0.25
    ),
}
PROMPT = tuple((7 * n * n + 3 * n) % 250 for n in range(150))
"""More than three windows of the Gemma-2."""
FIRES = Comparison((FeatureKey("one", 3),), Operator.GREATER, 0.2)
STEERED = Steering(
    edits=(Edit(FeatureKey("one", 4), Operation.NUDGE, 0.6), Edit(FeatureKey("two", 5), Operation.PIN, 1.5)),
    scopes=(Scope(FIRES, Steering((Edit(FeatureKey("two", 7), Operation.SCALE, 3.0),)), latched=True),),
)


@cache
def served(name: str) -> Tiny:
    config = CONFIGS[name]
    model, plain = twins(config)
    medians = {layer: float(h[1:].norm(dim=-1).median()) for layer, h in residuals(plain, 150).items()}
    saes = {
        "one": random_sae("one", 1, Architecture.RELU, medians[1], 1),
        "two": random_sae("two", 2, Architecture.JUMPRELU, medians[2], 2),
    }
    return Tiny(model, plain, saes, {1: medians[1], 2: medians[2]})


@pytest.mark.parametrize("chunk", [64, 256])
@pytest.mark.parametrize("steering", [Steering(), STEERED], ids=["plain", "steered"])
@pytest.mark.parametrize("name", CONFIGS)
def test_prefill_and_decode_give_transformers_own_logits(name: str, steering: Steering, chunk: int) -> None:
    """Teacher-forced on what the engine drew: every log probability that it states is that of one whole forward."""
    model = served(name)
    limits = EngineLimits(prefill_idle=chunk, prefill_busy=chunk)
    sampling = Sampling(temperature=1.0, max_tokens=12, seed=3, top_logprobs=5)
    given = answer(engine_of(model, limits), Request(PROMPT, steering, sampling), model.saes)
    assert len(given.tokens) == 12
    logits = run(model, steering, [*PROMPT, *given.tokens[:-1]], len(PROMPT)).logits
    assert logits is not None
    logs = torch.log_softmax(logits[len(PROMPT) - 1 :], -1)
    assert given.logprobs == pytest.approx(
        logs.gather(-1, torch.tensor(given.tokens)[:, None])[:, 0].tolist(), abs=2e-4
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plain_forward_is_transformers_own(name: str) -> None:
    model = served(name)
    ids = torch.tensor(PROMPT)
    with torch.no_grad():
        expected = model.plain(ids[None], use_cache=False).logits[0]
        rows = [model.model.plain_logits(ids, row=row)[0] for row in (0, 63, 149)]
    torch.testing.assert_close(torch.stack(rows), expected[[0, 63, 149]], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_the_plain_forward_can_be_entered_after_a_block(name: str) -> None:
    model = served(name)
    ids = torch.tensor(PROMPT)
    kept: list[torch.Tensor] = []
    handle = decoder_layers(model.plain)[1].register_forward_hook(
        lambda _b, _i, out: kept.append((out[0] if isinstance(out, tuple) else out)[0])
    )
    with torch.no_grad():
        expected = model.plain(ids[None], use_cache=False).logits[0, -1]
    handle.remove()
    entered = model.model.plain_logits(ids, entry=1, residual=kept[0].requires_grad_(True))
    torch.testing.assert_close(entered[0], expected, atol=2e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(entered[0, 5], kept[0])
    assert float(gradient.abs().sum()) > 0
