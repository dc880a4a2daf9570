"""Linear normalisation folded into weights, so that an SAE reads and writes the residual stream's own units."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import SaeWeights


def fold_input_bias(
    W_enc: Float[Tensor, "d_sae d_model"], b_enc: Float[Tensor, " d_sae"], b_dec: Float[Tensor, " d_model"]
) -> Float[Tensor, " d_sae"]:
    """The encoder bias of an SAE that subtracts its decoder bias from the input: W (h - b_dec) + b = W h + result."""
    return b_enc - W_enc @ b_dec


def fold_input_scale(weights: SaeWeights, scale: float) -> SaeWeights:
    """The SAE on h of one that was trained on scale * h: the same activations, reconstructions divided by scale.

    A decoder bias that is subtracted from the scaled input must be folded into b_enc before.
    """
    return replace(
        weights, W_enc=weights.W_enc * scale, W_dec=weights.W_dec / scale, b_dec=weights.b_dec / scale
    )


def fold_decoder_norm(weights: SaeWeights) -> SaeWeights:
    """The SAE with unit decoder rows whose activations carry the rows' norms (SAELens' rescale_acts_by_decoder_norm).

    Right for ReLU always, for TopK where the file says that its choice is made among rescaled activations, and for
    JumpReLU where its threshold is for them.
    """
    norms = weights.W_dec.norm(dim=-1).clamp_min(1e-8)
    return replace(
        weights,
        W_enc=weights.W_enc * norms[:, None],
        b_enc=weights.b_enc * norms,
        W_dec=weights.W_dec / norms[:, None],
    )
