"""Small SAE files in each format, written from the formats' own descriptions and not through Hearth's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

D_MODEL, D_SAE = 6, 10


def numbers(seed: int = 0) -> dict[str, Tensor]:
    """Encoder [d_model, d_sae], decoder [d_sae, d_model] and biases, none of them zero or of unit norm."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "W_enc": draw(D_MODEL, D_SAE),
        "W_dec": draw(D_SAE, D_MODEL) * 1.7,
        "b_enc": draw(D_SAE) * 0.3,
        "b_dec": draw(D_MODEL),
        "threshold": draw(D_SAE).abs() * 0.5,
        "b_gate": draw(D_SAE) * 0.3,
        "b_mag": draw(D_SAE) * 0.3,
        "r_mag": draw(D_SAE) * 0.4,
    }


def residual_stream(tokens: int = 40) -> Tensor:
    return torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(99)) * 2.0


SAELENS_TENSORS = {
    "standard": ("W_enc", "W_dec", "b_enc", "b_dec"),
    "topk": ("W_enc", "W_dec", "b_enc", "b_dec"),
    "jumprelu": ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"),
    "gated": ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"),
}


def saelens_config(architecture: str, /, **changes: Any) -> dict[str, Any]:
    """cfg.json as sae-lens 6 writes it."""
    config: dict[str, Any] = {
        "d_in": D_MODEL,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.0",
            "sae_lens_training_version": "6.54.0",
            "model_name": "tiny/model",
            "hook_name": "blocks.15.hook_resid_post",
            "hook_head_index": None,
            "prepend_bos": True,
            "context_size": 256,
            "dataset_path": "tiny/text",
        },
        "architecture": architecture,
    }
    if architecture == "topk":
        config |= {"k": 3, "rescale_acts_by_decoder_norm": False}
    return config | changes


def flat_saelens_config(**changes: Any) -> dict[str, Any]:
    """cfg.json as versions before 6 wrote it, without what they left out."""
    config: dict[str, Any] = {
        "model_name": "tiny/model",
        "hook_point": "blocks.15.hook_resid_post",
        "hook_point_layer": 15,
        "hook_point_head_index": None,
        "d_in": D_MODEL,
        "d_sae": D_SAE,
        "dtype": "torch.float32",
        "activation_fn_str": "relu",
        "normalize_activations": False,
        "context_size": 128,
        "dataset_path": "tiny/text",
    }
    return config | changes


def write_saelens_folder(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae_weights.safetensors"
    )
    return folder


def saelens_folder(folder: Path, architecture: str, /, **changes: Any) -> Path:
    tensors = {name: numbers()[name] for name in SAELENS_TENSORS[architecture]}
    return write_saelens_folder(folder, saelens_config(architecture, **changes), tensors)


def gemma_scope_file(folder: Path, **changes: np.ndarray[Any, Any]) -> Path:
    """params.npz, with the layer in the path as in the published repositories."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: numbers()[name].numpy() for name in SAELENS_TENSORS["jumprelu"]} | changes
    np.savez(folder / "params.npz", **arrays)
    return folder


def goodfire_file(path: Path, **changes: Any) -> Path:
    """The state dict of two linear layers, whose weights are [out, in]."""
    drawn = numbers()
    state = {
        "encoder_linear.weight": drawn["W_enc"].T.contiguous(),
        "encoder_linear.bias": drawn["b_enc"],
        "decoder_linear.weight": drawn["W_dec"].T.contiguous(),
        "decoder_linear.bias": drawn["b_dec"],
    }
    torch.save(state | changes, path)
    return path


def sparsify_folder(folder: Path, tensors: dict[str, Tensor] | None = None, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": D_SAE,
        "k": 3,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": D_MODEL,
    }
    (folder / "cfg.json").write_text(json.dumps(config | changes))
    drawn = numbers()
    own = {
        "encoder.weight": drawn["W_enc"].T.contiguous(),
        "encoder.bias": drawn["b_enc"],
        "W_dec": drawn["W_dec"],
        "b_dec": drawn["b_dec"],
    }
    save_file(own | (tensors or {}), folder / "sae.safetensors")
    return folder


LLAMA_SCOPE_NORM = 4.0
"""The stream's average norm that the folders state; sqrt(D_MODEL) / 4 is what the SAE's input is multiplied by."""


def llama_scope_folder(folder: Path, tensors: dict[str, Tensor] | None = None, **changes: Any) -> Path:
    """hyperparams.json and checkpoints/final.safetensors, as in the repositories of the first release."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    config = {
        "device": "cuda:0",
        "seed": 42,
        "dtype": "torch.bfloat16",
        "hook_point_in": "blocks.15.hook_resid_post",
        "hook_point_out": "blocks.15.hook_resid_post",
        "use_decoder_bias": True,
        "apply_decoder_bias_to_pre_encoder": False,
        "expansion_factor": 8,
        "d_model": D_MODEL,
        "d_sae": D_SAE,
        "bias_init_method": "all_zero",
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.75390625,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": LLAMA_SCOPE_NORM, "out": LLAMA_SCOPE_NORM},
        "decoder_exactly_fixed_norm": False,
        "sparsity_include_decoder_norm": True,
        "use_glu_encoder": False,
        "init_decoder_norm": 0.5,
        "init_encoder_norm": None,
        "init_encoder_with_decoder_transpose": True,
        "lp": 1,
        "l1_coefficient": 8e-05,
        "l1_coefficient_warmup_steps": 78125,
        "top_k": 3,
        "k_warmup_steps": 78125,
        "use_batch_norm_mse": True,
        "use_ghost_grads": False,
        "tp_size": 1,
        "ddp_size": 1,
    }
    (folder / "hyperparams.json").write_text(json.dumps(config | changes, indent=4))
    drawn = numbers()
    own = {
        "encoder.weight": drawn["W_enc"].T.contiguous(),
        "encoder.bias": drawn["b_enc"],
        "decoder.weight": drawn["W_dec"].T.contiguous(),
        "decoder.bias": drawn["b_dec"],
    }
    save_file(own | (tensors or {}), folder / "checkpoints" / "final.safetensors")
    return folder


def later_llama_scope_folder(folder: Path, without: tuple[str, ...] = (), **changes: Any) -> Path:
    """config.json and sae_weights.safetensors, as the authors' library writes them since 2025."""
    folder.mkdir(parents=True, exist_ok=True)
    hook = "blocks.15.hook_resid_post"
    config = {
        "sae_type": "sae",
        "d_model": D_MODEL,
        "expansion_factor": D_SAE / D_MODEL,
        "use_decoder_bias": True,
        "act_fn": "jumprelu",
        "norm_activation": "dataset-wise",
        "sparsity_include_decoder_norm": True,
        "top_k": 3,
        "use_triton_kernel": False,
        "sparsity_threshold_for_triton_spmm_kernel": 0.996,
        "jumprelu_threshold_window": 2.0,
        "hook_point_in": hook,
        "hook_point_out": hook,
        "use_glu_encoder": False,
    }
    (folder / "config.json").write_text(json.dumps(config | changes, indent=4))
    drawn = numbers()
    tensors = {
        "W_E": drawn["W_enc"],
        "b_E": drawn["b_enc"],
        "W_D": drawn["W_dec"],
        "b_D": drawn["b_dec"],
        "activation_function.log_jumprelu_threshold": drawn["threshold"].log(),
        f"dataset_average_activation_norm.{hook}": torch.tensor(LLAMA_SCOPE_NORM),
    }
    kept = {name: tensor for name, tensor in tensors.items() if name not in without}
    save_file(kept, folder / "sae_weights.safetensors")
    return folder
