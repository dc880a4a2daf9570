"""One Llama block in fewer operations, for decoding on a CPU, where small operations cost time too.

The last resort: a forward pass written by hand, for this one family. Everything else about the model stays
transformers' own, plain and differentiable passes go through its classes, and tests/inference/test_model.py holds the
results equal to transformers'. Norms are one call, queries and keys are rotated together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP, LlamaRMSNorm

from services.inference.attention import PassLayout, attend
from services.inference.kv import KvCache
from services.inference.packed import PackedLinear, fused_of, packed


@dataclass(slots=True)
class Rotation:
    """Cosines, and sines with the sign of each half, of one pass; [tokens, 1, head_dim]."""

    source: Tensor
    cos: Tensor
    sin: Tensor


class Rotary:
    """The rotation of the pass that runs: made at its first block, used by all."""

    def __init__(self) -> None:
        self._last: Rotation | None = None

    def of(self, position_embeddings: tuple[Tensor, Tensor]) -> Rotation:
        """The rotation for transformers' (cos, sin), each [1, tokens, head_dim]."""
        cos, sin = position_embeddings
        if self._last is None or self._last.source is not cos:
            half = sin.shape[-1] // 2
            signed = torch.cat((-sin[0, :, :half], sin[0, :, half:]), -1)
            self._last = Rotation(cos, cos[0][:, None], signed[:, None])
        return self._last


class FusedLlamaBlock:
    """Runs one block of a pass over the shared KV cache; made by `fuse`."""

    def __init__(
        self,
        layer: LlamaDecoderLayer,
        qkv: PackedLinear,
        gate_up: PackedLinear,
        o: PackedLinear,
        down: PackedLinear,
        rotary: Rotary,
    ) -> None:
        attention = layer.self_attn
        self._number = int(attention.layer_idx)
        self._head_dim, self._scaling = int(attention.head_dim), float(attention.scaling)
        self._heads = int(attention.config.num_attention_heads)
        self._kv_heads = int(attention.config.num_key_value_heads or self._heads)
        self._norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self._qkv, self._gate_up, self._o, self._down = qkv, gate_up, o, down
        self._activation: nn.Module = layer.mlp.act_fn
        self._rotary = rotary

    def __call__(
        self,
        x: Float[Tensor, "tokens d_model"],
        position_embeddings: tuple[Tensor, Tensor],
        layout: PassLayout,
        kv: KvCache,
    ) -> Float[Tensor, "tokens d_model"]:
        """The block's output."""
        heads = self._qkv.product(self._norm(x, 0)).view(len(x), -1, self._head_dim)
        rotated = self._rotate(heads[:, : self._heads + self._kv_heads], self._rotary.of(position_embeddings))
        query, key = rotated[:, : self._heads].transpose(0, 1), rotated[:, self._heads :].transpose(0, 1)
        value = heads[:, self._heads + self._kv_heads :].transpose(0, 1)
        attended = attend(layout, kv, self._number, query, key, value, self._scaling, None, None)
        x = x + self._o.product(attended.reshape(len(x), -1))
        gate, up = self._gate_up.product(self._norm(x, 1)).chunk(2, -1)
        return x + self._down.product(self._activation(gate) * up)

    def _norm(self, x: Tensor, which: int) -> Tensor:
        norm = self._norms[which]
        return nn.functional.rms_norm(x, (x.shape[-1],), norm.weight, norm.variance_epsilon)

    def _rotate(self, x: Float[Tensor, "tokens heads head_dim"], rotation: Rotation) -> Tensor:
        half = self._head_dim // 2
        return x * rotation.cos + torch.roll(x, half, -1) * rotation.sin


def fuse(layer: nn.Module, rotary: Rotary) -> FusedLlamaBlock | None:
    """The fused form of a block whose linear layers are packed in float32; None where it is any other block."""
    if type(layer) is not LlamaDecoderLayer:
        return None
    attention, mlp = layer.self_attn, layer.mlp
    norms = (layer.input_layernorm, layer.post_attention_layernorm)
    if type(attention) is not LlamaAttention or type(mlp) is not LlamaMLP:
        return None
    if any(type(n) is not LlamaRMSNorm or n.weight.dtype != torch.float32 for n in norms):
        return None
    qkv, gate_up = fused_of(attention.q_proj), fused_of(mlp.gate_proj)
    o, down = packed(attention.o_proj), packed(mlp.down_proj)
    if qkv is None or gate_up is None or o is None or down is None:
        return None
    return FusedLlamaBlock(layer, qkv, gate_up, o, down, rotary)
