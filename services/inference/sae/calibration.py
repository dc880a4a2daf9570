"""What the doctor needs of a model: residuals at any block over the calibration texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from services.inference.layers import decoder_layers, residual_of, text_config
from services.inference.sae.calibration_texts import CHATS, TEXTS

Residuals = dict[int, Float[Tensor, "tokens d_model"]]
"""The residual stream after each asked block, all sequences one after the other."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """One model on one set of texts."""

    d_model: int
    layer_count: int
    positions: Int[Tensor, " tokens"]
    """Each token's position in its sequence, from 0."""
    residuals: Callable[[Sequence[int]], Residuals]
    """Runs the model and returns the streams after these blocks."""
    starts_with_bos: bool | None = None
    """Whether every sequence starts with the beginning-of-sequence token; None where the model has none."""


def calibrate(
    model: nn.Module, sequences: Sequence[Int[Tensor, " tokens"]], bos: int | None = None
) -> Calibration:
    """A Hugging Face causal LM on token sequences, without padding; residuals come back in float32 on the CPU."""
    starts = None if bos is None else all(int(sequence[0]) == bos for sequence in sequences)
    return Calibration(
        d_model=text_config(model).hidden_size,
        layer_count=len(decoder_layers(model)),
        positions=torch.cat([torch.arange(len(sequence)) for sequence in sequences]),
        residuals=lambda layers: residuals_of(model, sequences, layers),
        starts_with_bos=starts,
    )


def calibration_sequences(tokenizer: Any) -> list[Int[Tensor, " tokens"]]:
    """The built-in texts and chats as tokens, as the model is used to see them: its own BOS, its own chat template."""
    plain = [tokenizer(text)["input_ids"] for text in TEXTS]
    if getattr(tokenizer, "chat_template", None):
        chats = [_templated(tokenizer, chat) for chat in CHATS]
    else:
        chats = [tokenizer("\n".join(content for _, content in chat))["input_ids"] for chat in CHATS]
    return [torch.tensor(tokens) for tokens in (*plain, *chats)]


@torch.inference_mode()
def residuals_of(
    model: nn.Module, sequences: Sequence[Int[Tensor, " tokens"]], layers: Sequence[int]
) -> Residuals:
    """The residual stream after each of these blocks. Blocks above the last are not computed."""
    blocks = decoder_layers(model)
    kept: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    last = max(layers)

    def keep(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_block: nn.Module, _inputs: Any, output: Any) -> None:
            kept[layer].append(residual_of(output)[0].to("cpu", torch.float32))
            if layer == last:
                raise _EnoughError

        return hook

    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in kept]
    device = next(model.parameters()).device
    try:
        for sequence in sequences:
            try:
                model(input_ids=sequence[None].to(device), use_cache=False)
            except _EnoughError:
                continue
    finally:
        for handle in handles:
            handle.remove()
    return {layer: torch.cat(rows) for layer, rows in kept.items()}


def served_tokens(
    residuals: Float[Tensor, "tokens d_model"], positions: Int[Tensor, " tokens"], sink_norms: float
) -> tuple[Bool[Tensor, " tokens"], float]:
    """Which tokens are neither first nor attention sinks, and the median norm among those that are not first."""
    norms = residuals.norm(dim=-1)
    inner = positions > 0
    median = float(norms[inner].median())
    return inner & (norms <= sink_norms * median), median


class _EnoughError(Exception):
    """Ends a forward pass after the last block that is asked for."""


def _templated(tokenizer: Any, chat: tuple[tuple[str, str], ...]) -> list[int]:
    messages = [{"role": role, "content": content} for role, content in chat]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception:  # templates raise what they like at a system message (Gemma's do)
        text = tokenizer.apply_chat_template(
            [message for message in messages if message["role"] != "system"], tokenize=False
        )
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens
