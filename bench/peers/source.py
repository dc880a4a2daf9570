"""The model of a benchmark: a folder, or a shape with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from bench.shapes import SHAPES


def load_module(options: Mapping[str, Any]) -> PreTrainedModel:
    """The model that `options` name: `model` is a folder, `shape` a key of SHAPES; with `dtype` and `device`."""
    dtype, device = getattr(torch, options["dtype"]), torch.device(options.get("device", "cpu"))
    shape = options.get("shape")
    model: Any
    if shape is None:
        model = AutoModelForCausalLM.from_pretrained(options["model"], dtype=dtype)
    else:
        torch.manual_seed(0)
        config = LlamaConfig.from_dict({**SHAPES[shape], "tie_word_embeddings": False})
        usual = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # so that a large model is never held in float32
        try:
            with device:
                model = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(usual)
    module = model.to(device).eval().requires_grad_(False)
    assert isinstance(module, PreTrainedModel)
    return module


def middle_block(model: PreTrainedModel) -> int:
    """The block at whose output the benchmark's SAE sits."""
    return int(model.config.get_text_config().num_hidden_layers) // 2


@torch.inference_mode()
def median_norm(model: PreTrainedModel, block: int) -> float:
    """Median residual norm at a block's output over 256 random tokens."""
    ids = torch.randint(100, 40_000, (1, 256), generator=torch.Generator().manual_seed(1)).to(model.device)
    hidden = model(ids, output_hidden_states=True, use_cache=False).hidden_states[block + 1]
    return float(hidden[0].float().norm(dim=-1).median())
