"""Writes SAELens' folders, so that the sae-lens library reads what Hearth trains; test_sae_lens.py proves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.hook_names import transformer_lens_name
from services.inference.sae.registry import LoadOptions
from services.inference.sae.saelens import WEIGHTS, load
from services.inference.sae.saelens_config import CONFIG
from services.inference.sae.sidefile import SIDE_JSON, SIDE_TENSORS, write_side_file
from services.inference.sae.tensors import write_json, write_safetensors

SAE_LENS_VERSION = "6.54.0"
"""The version whose layout is written; sae-lens reads it to tell layouts apart."""


def write_saelens(path: str | Path, sae: Sae, *, weights: Literal["float16", "float32"] = "float16") -> Sae:
    """Writes an SAE as a SAELens folder with side files, and returns it as it reads back. A ReLU becomes a jumprelu.

    In float16 only the two matrices are rounded; biases, thresholds and scales stay float32. cfg.json says float32,
    so that sae-lens computes in it as Hearth does. A gated SAE reads back equal but for rounding, as the format keeps
    the gate otherwise than SaeWeights; all others bit for bit. Raises SaeFormatError where a weight does not fit
    float16.
    """
    folder = Path(path)
    tensors = _tensors(
        folder / WEIGHTS, sae.weights, torch.float16 if weights == "float16" else torch.float32
    )
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (SIDE_JSON, SIDE_TENSORS):
        (folder / stale).unlink(missing_ok=True)
    write_safetensors(folder / WEIGHTS, tensors)
    write_json(folder / CONFIG, _config(sae))
    stored = load(folder, LoadOptions(id=sae.id))
    kept = Sae(
        id=sae.id,
        weights=stored.weights,
        hook_point=stored.hook_point,
        layer=stored.layer,
        weights_digest=stored.weights_digest,
        median_norm=sae.median_norm,
        strength_constant=sae.strength_constant,
        scales=sae.scales,
        card=sae.card,
    )
    write_side_file(folder, kept)
    return load(folder, LoadOptions())


def _tensors(file: Path, weights: SaeWeights, matrix_type: torch.dtype) -> dict[str, Tensor]:
    vectors = {"b_dec": weights.b_dec, **_vectors(weights)}
    return {
        "W_enc": _narrowed(file, "W_enc", weights.W_enc.T, matrix_type),
        "W_dec": _narrowed(file, "W_dec", weights.W_dec, matrix_type),
        **{name: vector.float().cpu().contiguous() for name, vector in vectors.items()},
    }


def _vectors(weights: SaeWeights) -> dict[str, Tensor]:
    """The encoder's vectors, under the names that their architecture has for them."""
    if weights.architecture is Architecture.TOPK:
        return {"b_enc": weights.b_enc}
    if weights.architecture is Architecture.GATED:
        assert weights.gate_scale is not None
        assert weights.gate_bias is not None
        return {
            "b_gate": weights.b_enc,
            "r_mag": weights.gate_scale.log(),
            "b_mag": weights.gate_bias + weights.b_enc * weights.gate_scale,
        }
    threshold = weights.threshold if weights.threshold is not None else torch.zeros_like(weights.b_enc)
    return {"b_enc": weights.b_enc, "threshold": threshold}


def _narrowed(file: Path, name: str, matrix: Tensor, dtype: torch.dtype) -> Tensor:
    narrow = matrix.to("cpu", dtype, copy=True).contiguous()
    if not torch.isfinite(narrow).all():
        raise SaeFormatError(file, name, f"numbers that {dtype} can hold", f"up to {matrix.abs().max():.4g}")
    return narrow


def _config(sae: Sae) -> dict[str, Any]:
    metadata = {
        "sae_lens_version": SAE_LENS_VERSION,
        "sae_lens_training_version": None,
        "model_name": sae.card.get("model"),
        "hook_name": transformer_lens_name(sae.layer),
        "hook_head_index": None,
        "prepend_bos": sae.card.get("prepend_bos"),
        "context_size": sae.card.get("context_size"),
        "dataset_path": sae.card.get("dataset"),
    }
    relu = sae.weights.architecture is Architecture.RELU
    topk = {"k": sae.weights.k, "rescale_acts_by_decoder_norm": False}
    return {
        "architecture": Architecture.JUMPRELU.value if relu else sae.weights.architecture.value,
        **(topk if sae.weights.architecture is Architecture.TOPK else {}),
        "d_in": sae.weights.d_model,
        "d_sae": sae.weights.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }
