"""A tiny random model with several SAEs, as the engine serves it and, a second time, as transformers runs it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from services.inference.answers import Vocabulary
from services.inference.layers import decoder_layers, residual_of
from services.inference.model import LanguageModel
from services.inference.sae.base import Architecture, Sae, SaeWeights

torch.set_num_threads(1)

VOCABULARY = 300
D_MODEL = 32
END = 299
"""Ends an answer."""
LOUD = 298
"""A token whose residual is far over four medians at every block: an attention sink wherever it stands."""
WORDS = [" cat", " dog", "stop", "st", "op", " the", "\u00e9", "\U0001f98a", "ab", "bc", "abc", "\n\n"]


def piece(token: int) -> bytes:
    """A token's bytes: 0-255 are bytes, then come words; the end token has none."""
    if token < 256:
        return bytes([token])
    return b"" if token == END else WORDS[(token - 256) % len(WORDS)].encode()


WITH_END = Vocabulary(piece, frozenset([END]))
ENDLESS = Vocabulary(piece, frozenset())


@dataclass(frozen=True)
class Tiny:
    """A model twice, from the same weights, with what steering needs to know of it."""

    model: LanguageModel
    plain: PreTrainedModel
    saes: dict[str, Sae]
    medians: dict[int, float]


def llama_config(**changes: Any) -> LlamaConfig:
    """Four blocks of width 32."""
    return LlamaConfig(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": D_MODEL,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "initializer_range": 0.25,
            "tie_word_embeddings": False,
            **changes,
        }
    )


def twins(config: Any, seed: int = 0) -> tuple[LanguageModel, PreTrainedModel]:
    """The engine's model and transformers' own eager one, with equal weights in float32."""
    torch.manual_seed(seed)
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    plain.eval()
    plain.requires_grad_(False)
    return LanguageModel(copy.deepcopy(plain), torch.float32, torch.device("cpu")), plain


@cache
def tiny(**changes: Any) -> Tiny:
    """The model of most tests: SAEs of four kinds at blocks 1 and 2, two at each."""
    torch.manual_seed(0)
    config = llama_config(**changes)
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    plain.eval().requires_grad_(False)
    plain.get_input_embeddings().weight.data[LOUD] *= 200
    model = LanguageModel(copy.deepcopy(plain), torch.float32, torch.device("cpu"))
    medians = {layer: float(h[1:].norm(dim=-1).median()) for layer, h in residuals(plain, 200).items()}
    saes = {
        sae.id: sae
        for number, (name, layer, architecture) in enumerate(
            [
                ("relu", 1, Architecture.RELU),
                ("topk", 1, Architecture.TOPK),
                ("gated", 2, Architecture.GATED),
                ("jump", 2, Architecture.JUMPRELU),
            ]
        )
        for sae in [random_sae(name, layer, architecture, medians[layer], seed=number)]
    }
    return Tiny(model, plain, saes, {layer: medians[layer] for layer in (1, 2)})


def residuals(plain: nn.Module, count: int) -> dict[int, Tensor]:
    """The residual stream after each block on random tokens, none of them loud."""
    kept: dict[int, Tensor] = {}
    handles = [
        block.register_forward_hook(lambda _b, _i, out, n=number: kept.__setitem__(n, residual_of(out)[0]))
        for number, block in enumerate(decoder_layers(plain))
    ]
    with torch.no_grad():
        plain(torch.randint(0, 250, (1, count)), use_cache=False)
    for handle in handles:
        handle.remove()
    return kept


def random_sae(
    name: str, layer: int, architecture: Architecture, median: float, seed: int, width: int = D_MODEL
) -> Sae:
    """An SAE of 40 features, about a third of which are active at a token."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    encoder = torch.nn.functional.normalize(normal(40, width), dim=-1)
    size = median / width**0.5  # the usual size of a pre-activation
    weights = SaeWeights(
        architecture,
        encoder,
        -0.4 * size + 0.1 * size * normal(40),
        (encoder + 0.1 * normal(40, width)) * (0.5 + torch.rand(40, 1, generator=rng)),
        0.1 * normal(width),
        threshold=0.3 * size * torch.rand(40, generator=rng)
        if architecture is Architecture.JUMPRELU
        else None,
        k=8 if architecture is Architecture.TOPK else None,
        gate_scale=torch.exp(0.3 * normal(40)) if architecture is Architecture.GATED else None,
        gate_bias=0.1 * size * normal(40) if architecture is Architecture.GATED else None,
    )
    scales = 2 * size * (0.5 + torch.rand(40, generator=rng))
    return Sae(
        name,
        weights,
        f"blocks.{layer}.hook_resid_post",
        layer,
        weights.digest(),
        median,
        0.3 + 0.1 * seed,
        scales,
    )
