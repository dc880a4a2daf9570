"""An SAE that fits the tiny model, so that the doctor lets it pass, and its folder in every format that is imported."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from services.inference.examination import ExaminingRoom, examining_room
from services.inference.sae.base import SINK_NORMS
from services.inference.sae.calibration import served_tokens
from services.inference.settings import InferenceSettings

LAYER, COMPONENTS = 1, 20
FEATURES = 2 * COMPONENTS


@cache
def room_of(model: Path) -> ExaminingRoom:
    return examining_room(InferenceSettings(model=str(model), dtype="float32", device="cpu", threads=1))


@cache
def tensors_of(model: Path) -> dict[str, Tensor]:
    """Both signs of the leading principal components of the stream: ReLU of the two carries a whole coordinate."""
    calibration = room_of(model).calibration
    stream = calibration.residuals([LAYER])[LAYER]
    kept, _ = served_tokens(stream, calibration.positions, SINK_NORMS)
    mean = stream[kept].mean(0)
    directions = torch.linalg.svd(stream[kept] - mean, full_matrices=False).Vh[:COMPONENTS]
    signed = torch.cat([directions, -directions]).contiguous()
    return {"W_enc": signed.T.contiguous(), "b_enc": -signed @ mean, "W_dec": signed, "b_dec": mean}


def saelens(model: Path, folder: Path, layer: int = LAYER) -> Path:
    folder.mkdir(parents=True)
    tensors = tensors_of(model)
    config = {
        "architecture": "standard",
        "d_in": tensors["W_enc"].shape[0],
        "d_sae": FEATURES,
        "dtype": "float32",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"model_name": str(model), "hook_name": f"blocks.{layer}.hook_resid_post"},
    }
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


def gemma_scope(model: Path, folder: Path) -> Path:
    folder = folder / f"layer_{LAYER}" / "width_40"
    folder.mkdir(parents=True)
    arrays = {name: tensor.numpy() for name, tensor in tensors_of(model).items()}
    np.savez(folder / "params.npz", **arrays, threshold=np.zeros(FEATURES, np.float32))
    return folder


def llama_scope(model: Path, folder: Path) -> Path:
    """With the stream normalised to sqrt(d_model), so that biases are in other units than the stream."""
    (folder / "checkpoints").mkdir(parents=True)
    tensors = tensors_of(model)
    d_model = tensors["W_enc"].shape[0]
    norm = 2.5
    r = d_model**0.5 / norm
    hook = f"blocks.{LAYER}.hook_resid_post"
    config = {
        "hook_point_in": hook,
        "hook_point_out": hook,
        "d_model": d_model,
        "d_sae": FEATURES,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.0,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": norm, "out": norm},
        "apply_decoder_bias_to_pre_encoder": False,
        "use_decoder_bias": True,
        "use_glu_encoder": False,
        "sparsity_include_decoder_norm": True,
    }
    (folder / "hyperparams.json").write_text(json.dumps(config))
    state = {
        "encoder.weight": tensors["W_enc"].T.contiguous(),
        "encoder.bias": tensors["b_enc"] * r,
        "decoder.weight": tensors["W_dec"].T.contiguous(),
        "decoder.bias": tensors["b_dec"] * r,
    }
    save_file(state, folder / "checkpoints" / "final.safetensors")
    return folder


def goodfire(model: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    tensors = tensors_of(model)
    state = {
        "encoder_linear.weight": tensors["W_enc"].T.contiguous(),
        "encoder_linear.bias": tensors["b_enc"],
        "decoder_linear.weight": tensors["W_dec"].T.contiguous(),
        "decoder_linear.bias": tensors["b_dec"],
    }
    torch.save(state, folder / f"Tiny-SAE-l{LAYER}.pth")
    return folder / f"Tiny-SAE-l{LAYER}.pth"


def sparsify(model: Path, folder: Path) -> Path:
    """TopK with as many as can be positive at once; b_dec is subtracted from the input, so there is no bias."""
    folder = folder / f"layers.{LAYER}"
    folder.mkdir(parents=True)
    tensors = tensors_of(model)
    d_model = tensors["W_enc"].shape[0]
    config = {"activation": "topk", "num_latents": FEATURES, "k": COMPONENTS, "d_in": d_model}
    (folder / "cfg.json").write_text(json.dumps(config))
    state = {
        "encoder.weight": tensors["W_enc"].T.contiguous(),
        "encoder.bias": torch.zeros(FEATURES),
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
    }
    save_file(state, folder / "sae.safetensors")
    return folder


FOLDERS = {
    "saelens": saelens,
    "gemma_scope": gemma_scope,
    "llama_scope": llama_scope,
    "goodfire": goodfire,
    "sparsify": sparsify,
}
