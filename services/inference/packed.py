"""Linear layers for inference on a CPU: weights packed once for oneDNN, siblings that read one input fused.

`torch.nn.Linear` repacks (bf16) or reorders (fp32) its weight at each call. A packed product also gives each row the
same bits whatever the number of rows, on which the engine's determinism rests (tests/inference/test_packed.py).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

FUSED_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of linear layers that always read the same input, one after the other."""
_BATCH_HINT = 32


class _PackedProduct(torch.autograd.Function):
    """x W^T + b through the packed weight; backward through the plain one, for attribution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedLinear) -> Tensor:
        ctx.layer = layer
        return layer.product(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        return grad @ torch.cat([w.to(grad.dtype) for w in ctx.layer.weights]), None


class PackedLinear(nn.Module):
    """One packed product for one or more linear layers with the same input: [..., in] -> [..., sum of out]."""

    def __init__(self, layers: list[nn.Module], dtype: torch.dtype) -> None:
        super().__init__()
        self.weights = [_weight_of(layer) for layer in layers]
        """The plain weights, each [out, in], kept for backward; usually memory-mapped from the model's file."""
        biases = [getattr(layer, "bias", None) for layer in layers]
        self.bias: Tensor | None = None
        if any(isinstance(b, Tensor) for b in biases):
            self.bias = torch.cat(
                [
                    b.detach().to(dtype) if isinstance(b, Tensor) else torch.zeros(w.shape[0], dtype=dtype)
                    for w, b in zip(self.weights, biases, strict=True)
                ]
            )
        whole = torch.cat([w.to(dtype) for w in self.weights]).contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(whole, _BATCH_HINT)

    def product(self, x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
        """x W^T + b."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise.default(
            x.contiguous(), self.packed, self.bias, "none", [], ""
        )
        return y

    def forward(self, x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
        """x W^T + b; differentiable in x."""
        if torch.is_grad_enabled() and x.requires_grad:
            y: Tensor = _PackedProduct.apply(x, self)  # type: ignore[no-untyped-call]
            return y
        return self.product(x)


class _Sibling(nn.Module):
    """Stands where one of several fused layers stood: the first to see an input computes for all."""

    def __init__(self, group: _FusedGroup, start: int, end: int, last: bool) -> None:
        super().__init__()
        self._group = [group]  # in a list: not a submodule of each sibling
        self._start, self._end, self._last = start, end, last

    @property
    def group(self) -> _FusedGroup:
        """The siblings."""
        return self._group[0]

    def forward(self, x: Tensor) -> Tensor:
        """This layer's part of the group's product."""
        group = self._group[0]
        if group.input is not x:
            group.input, group.output = x, group.linear(x)
        assert group.output is not None
        part = group.output[..., self._start : self._end]
        if self._last:
            group.input = group.output = None
        return part


def fused_of(layer: object) -> PackedLinear | None:
    """The one product of the siblings of which a layer is a part; None where it is no part of any."""
    return layer.group.linear if isinstance(layer, _Sibling) else None


def packed(layer: object) -> PackedLinear | None:
    """A layer that is packed alone; None for any other."""
    return layer if isinstance(layer, PackedLinear) else None


class _FusedGroup:
    def __init__(self, linear: PackedLinear) -> None:
        self.linear = linear
        self.input: Tensor | None = None
        self.output: Tensor | None = None


def pack_linears(model: nn.Module, dtype: torch.dtype) -> None:
    """Replaces every linear layer of a model in place (Linear and GPT-2's Conv1D), computing in `dtype`."""
    for module in list(model.modules()):
        for names in FUSED_SIBLINGS:
            children = dict(module.named_children())
            layers = [children[name] for name in names if name in children and _is_linear(children[name])]
            if len(layers) == len(names):
                group = _FusedGroup(PackedLinear(layers, dtype))
                start = 0
                for name, weight in zip(names, group.linear.weights, strict=True):
                    end = start + weight.shape[0]
                    setattr(module, name, _Sibling(group, start, end, last=name == names[-1]))
                    start = end
        for name, child in list(module.named_children()):
            if _is_linear(child):
                setattr(module, name, PackedLinear([child], dtype))


def _is_linear(module: object) -> bool:
    return type(module) in (nn.Linear, Conv1D)


def _weight_of(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach().t() if isinstance(layer, Conv1D) else weight.detach()
