"""The one in-memory form of an SAE: every file format is read into it, every consumer works on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

SINK_NORMS = 4.0
"""A token whose residual norm exceeds so many medians is an attention sink: not encoded, edited or counted."""
DEFAULT_STRENGTH_CONSTANT = 0.6
"""Strength 1.0 is this constant times the median residual norm, unless the SAE was calibrated."""
_TILE = 16
"""Rows in one product where a row's bits must not depend on the number of rows: a product of one or two rows takes
another path than one of many."""


class Architecture(StrEnum):
    """The activation function of an SAE."""

    RELU = "relu"
    JUMPRELU = "jumprelu"
    TOPK = "topk"
    GATED = "gated"


@dataclass(frozen=True, slots=True)
class SaeWeights:
    """An SAE with all normalisation folded in: it reads the residual stream h in the stream's own units.

    pre = h W_enc^T + b_enc (a decoder bias subtracted from the input is already folded into b_enc), then
    relu: max(pre, 0); jumprelu: pre where pre > threshold, else 0; topk: max(pre, 0) where among the k largest;
    gated: (pre > 0) * max(pre * gate_scale + gate_bias, 0), where pre includes the gate's bias (b_enc is b_gate),
    gate_scale = exp(r_mag), and so gate_bias = b_mag - b_gate exp(r_mag): what is folded into b_enc reaches the
    magnitude through pre.
    reconstruction = f W_dec + b_dec. W_dec rows keep the file's own norms.
    """

    architecture: Architecture
    W_enc: Float[Tensor, "d_sae d_model"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_model"]
    b_dec: Float[Tensor, " d_model"]
    threshold: Float[Tensor, " d_sae"] | None = None
    k: int | None = None
    gate_scale: Float[Tensor, " d_sae"] | None = None
    gate_bias: Float[Tensor, " d_sae"] | None = None

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_enc.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.W_enc.shape[1]

    def digest(self) -> str:
        """SHA-256, in hex, over the architecture, k, and name, type, shape and bytes of each tensor there is."""
        sha = hashlib.sha256(f"{self.architecture.value} k={self.k}".encode())
        for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "gate_scale", "gate_bias"):
            tensor: Tensor | None = getattr(self, name)
            if tensor is not None:
                array = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
                sha.update(f"\n{name} float32 {list(array.shape)}\n".encode())
                sha.update(array.astype("<f4", copy=False).data)
        return sha.hexdigest()

    @property
    def separable(self) -> bool:
        """Whether one feature's activation can be computed without the others."""
        return self.architecture is not Architecture.TOPK

    def to(self, device: torch.device) -> SaeWeights:
        """The same SAE with its tensors on a device."""
        tensors = {
            f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def encode(self, h: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_sae"]:
        """Raw activations of all features."""
        pre = torch.nn.functional.linear(h, self.W_enc, self.b_enc)
        if self.architecture is Architecture.TOPK:
            assert self.k is not None
            top = pre.topk(min(self.k, self.d_sae), dim=-1)
            return torch.zeros_like(pre).scatter_(-1, top.indices, top.values.clamp_min(0.0))
        return self._activate(pre, slice(None))

    def encode_pairs(
        self, h: Float[Tensor, "pairs d_model"], features: Int[Tensor, " pairs"]
    ) -> Float[Tensor, " pairs"]:
        """Raw activation of feature features[i] on row h[i]; the result for a pair does not depend on the others."""
        if not self.separable:
            return self.encode_rows(h).gather(-1, features[:, None])[:, 0]
        pre = (h * self.W_enc[features]).sum(-1) + self.b_enc[features]
        return self._activate(pre, features)

    def encode_rows(self, h: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_sae"]:
        """Raw activations of all features; the result for a row does not depend on the others."""
        padded = torch.nn.functional.pad(h, (0, 0, 0, -len(h) % _TILE))
        tiles = [self.encode(padded[start : start + _TILE]) for start in range(0, len(padded), _TILE)]
        return torch.cat(tiles)[: len(h)]

    def decode(self, f: Float[Tensor, "tokens d_sae"]) -> Float[Tensor, "tokens d_model"]:
        """The reconstruction of the residual stream."""
        return f @ self.W_dec + self.b_dec

    def _activate(self, pre: Tensor, features: Any) -> Tensor:
        match self.architecture:
            case Architecture.JUMPRELU:
                assert self.threshold is not None
                return torch.where(pre > self.threshold[features], pre, 0.0).clamp_min(0.0)
            case Architecture.GATED:
                assert self.gate_scale is not None
                assert self.gate_bias is not None
                magnitude = (pre * self.gate_scale[features] + self.gate_bias[features]).clamp_min(0.0)
                return torch.where(pre > 0, magnitude, 0.0)
            case _:
                return pre.clamp_min(0.0)


@dataclass(frozen=True, slots=True)
class Sae:
    """An SAE as it is served: weights, where it belongs, and the statistics that give edits their units."""

    id: str
    weights: SaeWeights
    hook_point: str
    layer: int
    weights_digest: str
    median_norm: float | None = None
    """Median residual norm at the hook point; None where the file does not say (the doctor measures it)."""
    strength_constant: float = DEFAULT_STRENGTH_CONSTANT
    scales: Float[Tensor, " d_sae"] | None = None
    """Activation scale of each feature (its 99.9th-percentile non-zero activation); None where unknown."""
    card: dict[str, Any] = field(default_factory=dict)
    """What the file claims. Names that are understood, whatever the format: `model` (its Hugging Face id),
    `variance_explained` (0 to 1), `l0`, `context_size` (tokens), `prepend_bos`, `dataset`; the rest is kept."""

    @property
    def unit_digest(self) -> str:
        """SHA-256 over what the natural units mean: median norm, strength constant, activation scales."""
        digest = hashlib.sha256(f"{self.median_norm} {self.strength_constant}".encode())
        if self.scales is not None:
            digest.update(self.scales.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
