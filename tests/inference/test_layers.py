"""The decoder stack is found in every family by its shape, and what is none is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
    T5Config,
    T5ForConditionalGeneration,
)

from services.inference.layers import NoDecoderStack, decoder_layers, decoder_path, residual_of, text_config

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
}
FAMILIES = [
    (LlamaConfig(**SMALL, num_hidden_layers=3, num_key_value_heads=1), "model.layers"),
    (Gemma2Config(**SMALL, num_hidden_layers=3, num_key_value_heads=1, head_dim=8), "model.layers"),
    (Qwen2Config(**SMALL, num_hidden_layers=3, num_key_value_heads=1), "model.layers"),
    (GPT2Config(vocab_size=50, n_embd=16, n_layer=3, n_head=2, n_positions=32), "transformer.h"),
    (GPTNeoXConfig(**SMALL, num_hidden_layers=3, max_position_embeddings=32), "gpt_neox.layers"),
]


@pytest.mark.parametrize(("config", "path"), FAMILIES, ids=lambda value: getattr(value, "model_type", value))
def test_the_blocks_of_each_family_carry_the_residual_stream(config: Any, path: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    blocks = decoder_layers(model)
    assert decoder_path(model) == path
    assert len(blocks) == 3
    assert text_config(model).hidden_size == 16
    streams: list[torch.Tensor] = []
    for block in blocks:
        block.register_forward_hook(lambda _block, _inputs, output: streams.append(residual_of(output)))
    tokens = torch.randint(0, 50, (2, 7))
    with torch.no_grad():
        hidden = model(tokens, output_hidden_states=True, use_cache=False).hidden_states
    assert [tuple(stream.shape) for stream in streams] == [(2, 7, 16)] * 3
    for stream, expected in zip(
        streams[:-1], hidden[1:-1], strict=True
    ):  # the last one has the final norm on it
        assert torch.equal(stream, expected)


def test_an_encoder_decoder_is_refused() -> None:
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    )
    with pytest.raises(NoDecoderStack, match="only causal LMs"):
        decoder_layers(model)


def test_a_model_without_such_a_list_is_refused() -> None:
    model = nn.Linear(2, 2)
    model.config = LlamaConfig(num_hidden_layers=3)  # type: ignore[assignment]
    with pytest.raises(NoDecoderStack, match="no list of 3 blocks"):
        decoder_layers(model)


def test_side_towers_and_inner_lists_are_not_the_stack_but_twins_are_refused() -> None:
    model = nn.Module()
    model.config = LlamaConfig(num_hidden_layers=2)  # type: ignore[assignment]
    model.vision_tower = nn.ModuleList([nn.Identity(), nn.Identity()])
    model.layers = nn.ModuleList([nn.Sequential(), nn.Sequential()])
    model.layers[0].experts = nn.ModuleList([nn.Identity(), nn.Identity()])
    assert decoder_layers(model) is model.layers
    model.twin = nn.ModuleList([nn.Identity(), nn.Identity()])
    with pytest.raises(NoDecoderStack, match="several lists of 2 blocks: layers, twin"):
        decoder_layers(model)
