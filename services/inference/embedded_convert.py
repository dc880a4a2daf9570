"""Turns the embedded model's GGUF file into a transformers checkpoint. Imports torch: load it only to convert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert_gguf(gguf: Path, out: Path) -> None:
    """Writes config, generation config, weights, tokenizer and chat template of ``gguf`` into the folder ``out``.

    The weights are the file's own, dequantised to fp32 and rounded to bf16 (to nearest, ties to even); the output
    head stays tied to the embedding. ``out`` must exist.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    # transformers remembers that the weights came quantised and would refuse to save what it has dequantised.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.config.__dict__.pop("_model_name_or_path", None)
    model.save_pretrained(out)
    tokenizer = load_tokenizer(gguf)
    tokenizer.model_max_length = model.config.max_position_embeddings
    for temporary in ("is_local", "local_files_only"):  # How this process loaded it is nothing to keep.
        tokenizer.init_kwargs.pop(temporary, None)
    tokenizer.save_pretrained(out)


def load_tokenizer(gguf: Path) -> Any:
    """The tokenizer of ``gguf``, repaired to split text as llama.cpp's pre-tokenizer ``smollm`` does.

    transformers 5 imports it with the plain GPT-2 split. SmolLM's own first sets each digit apart, so that "2024" is
    four tokens. tests/inference/test_tokenizer.py compares the result with llama.cpp.

    Text that spells a control token, such as ``<|im_end|>``, becomes that token: llama.cpp's parse_special=True. Pass
    ``split_special_tokens=True`` when tokenising to have it spelled out like any other text: parse_special=False.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return tokenizer
