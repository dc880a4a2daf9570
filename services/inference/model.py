"""A Hugging Face causal language model with Hearth's parts in transformers' own seams.

transformers keeps the model's classes; we give it an attention function, packed linear layers and a wrapper around
each block's forward at which a pass enters, leaves and is edited.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from services.inference.activation_functions import steady_activations
from services.inference.attention import PassLayout, attend
from services.inference.fused_llama import Rotary, fuse
from services.inference.kv import KvCache
from services.inference.layers import decoder_layers
from services.inference.packed import pack_linears

Hook = Callable[[int, Tensor], None]
"""Called with a block's number and its output [tokens, d_model], which it may edit in place."""

_names = itertools.count()


@dataclass(slots=True)
class Pass:
    """One forward over a flat row of tokens."""

    ids: Int[Tensor, " tokens"]
    positions: Int[Tensor, " tokens"]
    layout: PassLayout
    hook: Hook | None = None
    hooked: frozenset[int] = frozenset()
    """Blocks whose output `hook` wants."""
    entry: int = -1
    """The block whose output `residual` is; -1 starts at the embeddings."""
    residual: Float[Tensor, "tokens d_model"] | None = None
    last: int | None = None
    """The last block that runs; None runs all."""
    logit_rows: Int[Tensor, " rows"] | None = None
    """Rows whose next-token logits are wanted."""


@dataclass(slots=True)
class _Probe:
    """What the attention function saw in a plain forward of two tokens."""

    shapes: dict[int, tuple[int, int]] = field(default_factory=dict)


class LanguageModel:
    """A causal language model that runs passes over the shared KV cache."""

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        device: torch.device,
        max_context: int | None = None,
    ) -> None:
        self._name = f"hearth-{next(_names)}"
        ALL_ATTENTION_FUNCTIONS.register(self._name, self._attention)
        self._pass: Pass | None = None
        self._probe: _Probe | None = None
        self._rotary = Rotary()
        self.module = model.train(False).requires_grad_(False)
        self.dtype, self.device = dtype, device
        _compute_in(model, dtype, device)
        self.layers = decoder_layers(model)
        for number, layer in enumerate(self.layers):
            self._open_seam(number, layer)
        model.set_attn_implementation(self._name)
        text = model.config.get_text_config()
        self.d_model = int(text.hidden_size)
        self.vocabulary_size = int(text.vocab_size)
        own = int(getattr(text, "max_position_embeddings", 0) or 2048)
        self.context_length = own if max_context is None else min(own, max_context)
        self.kv_heads, self.head_dim = self._probe_heads()
        self.kv = KvCache(len(self.layers), self.kv_heads, self.head_dim, self.context_length, dtype, device)

    @property
    def layer_count(self) -> int:
        """Number of blocks."""
        return len(self.layers)

    @torch.inference_mode()
    def run(self, step: Pass) -> Float[Tensor, "rows vocabulary"] | None:
        """Runs a pass: writes the KV cache, calls the hook, returns the wanted logits (float32)."""
        self._pass = step
        try:
            inputs = {"input_ids": step.ids[None], "position_ids": step.positions[None], "use_cache": False}
            if step.logit_rows is None:
                self.module.get_decoder()(**inputs)
                return None
            logits: Tensor = self.module(**inputs, logits_to_keep=step.logit_rows).logits
            return logits[0].float()
        finally:
            self._pass = None

    def plain_logits(
        self,
        ids: Int[Tensor, " tokens"],
        entry: int = -1,
        residual: Float[Tensor, "tokens d_model"] | None = None,
        row: int | None = None,
    ) -> Float[Tensor, "rows vocabulary"]:
        """Logits of one sequence without the KV cache, differentiable in `residual`, the output of block `entry`."""
        rows = torch.tensor([len(ids) - 1 if row is None else row], device=self.device)
        return self._plain(ids, PlainPass(entry, residual), rows)

    @torch.no_grad()
    def plain_residual(self, ids: Int[Tensor, " tokens"], layer: int) -> Float[Tensor, "tokens d_model"]:
        """The output of block `layer` for one sequence, without the KV cache; no later block runs."""
        self._pass = None
        self._plain_pass = plain = PlainPass(last=layer)
        try:
            positions = torch.arange(len(ids), device=self.device)
            self.module.get_decoder()(input_ids=ids[None], position_ids=positions[None], use_cache=False)
        finally:
            self._plain_pass = None
        assert plain.output is not None
        return plain.output

    def _plain(self, ids: Tensor, plain: PlainPass, rows: Tensor) -> Tensor:
        self._pass = None
        self._plain_pass = plain
        try:
            positions = torch.arange(len(ids), device=self.device)
            out = self.module(
                input_ids=ids[None], position_ids=positions[None], use_cache=False, logits_to_keep=rows
            )
            logits: Tensor = out.logits[0].float()
            return logits
        finally:
            self._plain_pass = None

    _plain_pass: PlainPass | None = None

    def _open_seam(self, number: int, layer: nn.Module) -> None:
        inner, fused = layer.forward, fuse(layer, self._rotary)

        def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            step = self._pass
            if step is None:
                return self._plain_layer(number, inner, hidden_states, args, kwargs)
            if number <= step.entry:
                return hidden_states
            if number == step.entry + 1 and step.residual is not None:
                hidden_states = step.residual.clone()[None]
                if step.hook is not None and step.entry in step.hooked:
                    step.hook(step.entry, hidden_states[0])
            if step.last is not None and number > step.last:
                return hidden_states
            if fused is None:
                out = inner(hidden_states, *args, **kwargs)
            else:
                out = fused(hidden_states[0], kwargs["position_embeddings"], step.layout, self.kv)[None]
            if step.hook is not None and number in step.hooked:
                step.hook(number, (out[0] if isinstance(out, tuple) else out)[0])
            return out

        layer.forward = forward

    def _plain_layer(self, number: int, inner: Any, hidden: Tensor, args: Any, kwargs: Any) -> Any:
        plain = self._plain_pass
        if plain is None:
            return inner(hidden, *args, **kwargs)
        if plain.residual is not None:
            if number <= plain.entry:
                return plain.residual[None] if number == plain.entry else hidden
            if plain.entry < 0 and number == 0:
                hidden = plain.residual[None]
        if plain.last is None:
            return inner(hidden, *args, **kwargs)
        if number > plain.last:
            return hidden
        out = inner(hidden, *args, **kwargs)
        if number == plain.last:
            plain.output = (out[0] if isinstance(out, tuple) else out)[0]
        return out

    def _attention(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
        if self._pass is None:
            if self._probe is not None:
                self._probe.shapes[layer] = (key.shape[1], key.shape[3])
            return plain_attention(query, key, value, scale, sliding_window, softcap), None
        out = attend(
            self._pass.layout, self.kv, layer, query[0], key[0], value[0], scale, sliding_window, softcap
        )
        return out[None], None

    def _probe_heads(self) -> tuple[int, int]:
        self._probe = _Probe()
        with torch.inference_mode():
            self._plain(torch.zeros(2, dtype=torch.long, device=self.device), PlainPass(), torch.tensor([1]))
        shapes = set(self._probe.shapes.values())
        self._probe = None
        if len(shapes) != 1:
            raise ValueError(f"blocks with different attention heads are not supported: {sorted(shapes)}")
        return shapes.pop()


@dataclass(slots=True)
class PlainPass:
    """A forward of one whole sequence without the cache, entered after block `entry` where `residual` is given, left
    after block `last` with its output in `output` where that is given."""

    entry: int = -1
    residual: Tensor | None = None
    last: int | None = None
    output: Tensor | None = None


def plain_attention(
    query: Float[Tensor, "one heads tokens head_dim"],
    key: Float[Tensor, "one kv_heads tokens head_dim"],
    value: Float[Tensor, "one kv_heads tokens head_dim"],
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Float[Tensor, "one tokens heads head_dim"]:
    """Causal attention of one whole sequence; differentiable. Without a soft cap no scores are kept for backward."""
    group = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    if softcap is None and window is None:
        out = scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scaling)
        return out.transpose(1, 2)
    places = torch.arange(query.shape[2], device=query.device)
    seen = places <= places[:, None]
    if window is not None:
        seen = seen & (places > places[:, None] - window)
    if softcap is None:
        out = scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=scaling)
        return out.transpose(1, 2)
    scores = torch.tanh(query @ keys.transpose(2, 3) * scaling / softcap) * softcap
    return (torch.softmax(scores.masked_fill(~seen, float("-inf")), -1) @ values).transpose(1, 2)


def load_language_model(
    path: str | Path, dtype: torch.dtype, device: torch.device, max_context: int | None = None
) -> LanguageModel:
    """Loads a model folder; safetensors only, no remote code. `max_context` limits the model's own context."""
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype="auto", use_safetensors=True, trust_remote_code=False, low_cpu_mem_usage=True
    )
    return LanguageModel(model, dtype, device, max_context)


def _compute_in(model: PreTrainedModel, dtype: torch.dtype, device: torch.device) -> None:
    if device.type == "cpu":
        pack_linears(model, dtype)
        steady_activations(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(device, dtype)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)
