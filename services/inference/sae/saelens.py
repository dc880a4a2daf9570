"""SAELens' folders: cfg.json, sae_weights.safetensors and, where there is one, sparsity.safetensors.

Source: sae-lens 6.54. W_enc is [d_in, d_sae] and W_dec [d_sae, d_in]; gated SAEs have b_gate, b_mag and r_mag in
place of b_enc. Folders that Hearth wrote hold hearth.json as well, see sidefile.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.folding import fold_decoder_norm, fold_input_bias, fold_input_scale
from services.inference.sae.hook_names import hook_point
from services.inference.sae.registry import LoadOptions, SaeFormat
from services.inference.sae.saelens_config import CONFIG, SaeLensConfig, read_config
from services.inference.sae.sidefile import apply_side_file
from services.inference.sae.tensors import TensorFile, read_safetensors

WEIGHTS = "sae_weights.safetensors"
SPARSITY = "sparsity.safetensors"


def detects(path: Path) -> bool:
    """Whether the folder holds cfg.json and sae_weights.safetensors."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def load(path: Path, options: LoadOptions) -> Sae:
    """The SAE of a SAELens folder. Raises SaeFormatError."""
    config = read_config(path, options)
    weights = _weights(config, read_safetensors(path / WEIGHTS))
    sae = Sae(
        id=path.resolve().name,
        weights=weights,
        hook_point=hook_point(config.layer),
        layer=config.layer,
        weights_digest=weights.digest(),
        card={**_density(path, config), **config.card},
    )
    sae = apply_side_file(path, sae)
    return replace(sae, id=options.id) if options.id else sae


FORMAT = SaeFormat("saelens", detects, load)


def _weights(config: SaeLensConfig, file: TensorFile) -> SaeWeights:
    d_model, d_sae = config.d_model, config.d_sae
    gated = config.architecture is Architecture.GATED
    W_enc = file.take("W_enc", d_model, d_sae).T.contiguous()
    W_dec = file.take("W_dec", d_sae, d_model)
    b_dec = file.take("b_dec", d_model)
    own_bias = file.take("b_gate" if gated else "b_enc", d_sae)
    gate: dict[str, Tensor] = {}
    if gated:
        gate_scale = file.take("r_mag", d_sae).exp()
        gate = {"gate_scale": gate_scale, "gate_bias": file.take("b_mag", d_sae) - own_bias * gate_scale}
    weights = SaeWeights(
        architecture=config.architecture,
        W_enc=W_enc,
        b_enc=fold_input_bias(W_enc, own_bias, b_dec) if config.subtracts_b_dec else own_bias,
        W_dec=W_dec * _finetuning_scale(config, file),
        b_dec=b_dec,
        threshold=file.take("threshold", d_sae) if config.architecture is Architecture.JUMPRELU else None,
        k=config.k,
        **gate,
    )
    if config.rescales_by_decoder_norm and config.architecture is Architecture.TOPK:
        weights = fold_decoder_norm(weights)
    return (
        weights
        if config.norm_scaling_factor == 1.0
        else fold_input_scale(weights, config.norm_scaling_factor)
    )


def _finetuning_scale(config: SaeLensConfig, file: TensorFile) -> Tensor:
    """Up to version 5, what multiplies each activation before decoding; ones in most files that have it."""
    name = "scaling_factor"
    if name not in file:
        return torch.ones(1)
    scale = file.take(name, config.d_sae)
    if not config.finetuning_scale and not torch.allclose(scale, torch.ones_like(scale)):
        raise SaeFormatError(file.path, name, "ones, as finetuning_scaling_factor is false", "other numbers")
    return scale[:, None]


def _density(path: Path, config: SaeLensConfig) -> dict[str, Any]:
    """L0 from the log10 densities of all features, which add up to it."""
    if not (path / SPARSITY).exists():
        return {}
    log_density = read_safetensors(path / SPARSITY).take("sparsity", config.d_sae)
    return {"l0": float(torch.pow(10.0, log_density).sum())}
