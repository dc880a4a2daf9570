"""OpenMOSS' Llama Scope folders: hyperparams.json beside checkpoints/final.safetensors, and the later config.json.

`encoder.weight` is [d_sae, d_model] and `decoder.weight` [d_model, d_sae], or, later, W_E [d_model, d_sae] and
W_D [d_sae, d_model]. The SAE is trained on r h, where r = sqrt(d_model) / dataset_average_activation_norm brings the
stream to the norm sqrt(d_model); the norms stand in the configuration or, later, among the tensors. With n the norms of
the decoder directions d_i (1 unless sparsity_include_decoder_norm), the folder's own loader computes in the stream's
units

    pre_i = n_i (w_i h + b_E,i / r)     f_i = pre_i where pre_i > jump_relu_threshold, else 0
    reconstruction = sum f_i d_i / n_i + b_D / r

and so does this one. A learned threshold, exp(log_jumprelu_threshold) for each feature, is on r pre instead. TopK keeps
the k largest of ReLU(pre), BatchTopK so many on average over a batch: it is read as TopK. A TopK with a
jump_relu_threshold is a JumpReLU. Where apply_decoder_bias_to_pre_encoder, b_D / r is subtracted from h first.

Source: He et al. 2024, "Llama Scope", and github.com/OpenMOSS/Language-Model-SAEs: src/lm_saes/sae.py and
post_processing.py at the release of Llama Scope (4ec6f0a), models/sae.py and sparse_dictionary.py since.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.folding import fold_decoder_norm, fold_input_bias
from services.inference.sae.hook_names import hook_point, layer_of
from services.inference.sae.registry import LoadOptions, SaeFormat
from services.inference.sae.saelens_config import CONFIG as SAELENS_CONFIG
from services.inference.sae.tensors import ConfigFile, TensorFile, read_json, read_safetensors

CONFIGS = ("hyperparams.json", "config.json")
WEIGHTS = ("sae_weights.safetensors", "checkpoints/pruned.safetensors", "checkpoints/final.safetensors")
LANGUAGE_MODEL = "lm_config.json"
_NORMS = "dataset_average_activation_norm"
_THRESHOLDS = ("log_jumprelu_threshold", "activation_function.log_jumprelu_threshold")
_ACTIVATIONS = ("relu", "jumprelu", "topk", "batchtopk")
_NAMED_MODELS = {"Llama3_1-8B-Base-": "meta-llama/Llama-3.1-8B"}
"""Models by the beginning of the folder's name, for the first release, whose files name none."""


def detects(path: Path) -> bool:
    """Whether the folder holds one of the configurations and one of the weight files, and is not SAELens'."""
    found = any((path / name).is_file() for name in CONFIGS) and any((path / w).is_file() for w in WEIGHTS)
    return found and not (path / SAELENS_CONFIG).exists()


def load(path: Path, options: LoadOptions) -> Sae:
    """The SAE of a Llama Scope folder. Raises SaeFormatError."""
    config = read_json(_first(path, CONFIGS))
    layer = _layer(config, options)
    tensors = read_safetensors(_first(path, WEIGHTS))
    weights = _weights(config, tensors, options)
    return Sae(
        id=options.id or path.resolve().name,
        weights=weights,
        hook_point=hook_point(layer),
        layer=layer,
        weights_digest=weights.digest(),
        card=_card(path, config, weights),
    )


FORMAT = SaeFormat("llama_scope", detects, load)


def _first(path: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (path / name).is_file():
            return path / name
    raise SaeFormatError(path, "", " or ".join(names), "none of them")


def _layer(config: ConfigFile, options: LoadOptions) -> int:
    config.require("sae_type", ("sae", None), None)
    config.require("use_glu_encoder", (False,), False)
    name, output = (config.values.get(f"hook_point_{end}") for end in ("in", "out"))
    if output not in (None, name):
        wanted = f"{name!r}, the input's (an SAE, not a transcoder)"
        raise SaeFormatError(config.path, "hook_point_out", wanted, repr(output))
    if options.layer is not None:
        return options.layer
    layer = layer_of(name) if isinstance(name, str) else None
    if layer is None:
        wanted = "a block's output, such as blocks.15.hook_resid_post (or say the layer)"
        raise SaeFormatError(config.path, "hook_point_in", wanted, repr(name))
    return layer


def _weights(config: ConfigFile, file: TensorFile, options: LoadOptions) -> SaeWeights:
    d_model = config.whole_number("d_model")
    W_enc, b_enc, W_dec, b_dec = _linear(config, file, d_model, _d_sae(config, d_model))
    r_in, r_out = (_norm_factor(config, file, options, end) for end in ("in", "out"))
    architecture, threshold = _activation(config, file, b_enc, r_in)
    weights = SaeWeights(
        architecture=architecture,
        W_enc=W_enc,
        b_enc=b_enc / r_in,
        W_dec=W_dec * (r_in / r_out),
        b_dec=b_dec / r_out,
        threshold=threshold,
        k=config.whole_number("top_k") if architecture is Architecture.TOPK else None,
    )
    if config.require("apply_decoder_bias_to_pre_encoder", (True, False), False):
        weights = replace(weights, b_enc=fold_input_bias(W_enc, weights.b_enc, weights.b_dec))
    include = config.require("sparsity_include_decoder_norm", (True, False), True)
    return fold_decoder_norm(weights) if include else weights


def _linear(config: ConfigFile, file: TensorFile, d_model: int, d_sae: int) -> tuple[Tensor, ...]:
    """W_enc [d_sae, d_model], b_enc, W_dec [d_sae, d_model] and b_dec, in either layout."""
    later = "W_E" in file
    biased = config.require("use_decoder_bias", (True, False), True)
    b_dec = file.take("b_D" if later else "decoder.bias", d_model) if biased else torch.zeros(d_model)
    if later:
        W_enc, b_enc = file.take("W_E", d_model, d_sae).T.contiguous(), file.take("b_E", d_sae)
        return W_enc, b_enc, file.take("W_D", d_sae, d_model), b_dec
    W_enc, b_enc = file.take("encoder.weight", d_sae, d_model), file.take("encoder.bias", d_sae)
    return W_enc, b_enc, file.take("decoder.weight", d_model, d_sae).T.contiguous(), b_dec


def _activation(
    config: ConfigFile, file: TensorFile, b_enc: Tensor, r: float
) -> tuple[Architecture, Tensor | None]:
    """The activation function and, for JumpReLU, the threshold of each feature in the stream's units."""
    name = str(config.require("act_fn", _ACTIVATIONS, "relu"))
    scalar = config.values.get("jump_relu_threshold") or 0.0
    if not isinstance(scalar, (int, float)) or not 0.0 <= scalar < float("inf"):
        raise SaeFormatError(config.path, "jump_relu_threshold", "a number from 0 up", repr(scalar))
    learned = next((tensor for tensor in _THRESHOLDS if tensor in file), None)
    if name == "relu":
        return Architecture.RELU, None
    if name != "jumprelu" and not scalar:
        return Architecture.TOPK, None
    if learned:
        return Architecture.JUMPRELU, file.take(learned, len(b_enc)).exp() / r
    if "jump_relu_threshold" not in config.values:
        raise SaeFormatError(
            config.path, "jump_relu_threshold", f"a number, or a tensor {_THRESHOLDS[0]}", "neither"
        )
    return Architecture.JUMPRELU, torch.full_like(b_enc, float(scalar))


def _d_sae(config: ConfigFile, d_model: int) -> int:
    if config.values.get("d_sae") is not None:
        return config.whole_number("d_sae")
    return int(d_model * config.positive("expansion_factor"))


def _norm_factor(config: ConfigFile, file: TensorFile, options: LoadOptions, end: str) -> float:
    """What the stream is multiplied by before the SAE."""
    if options.norm_scaling_factor is not None:
        return options.norm_scaling_factor
    how = config.require("norm_activation", ("dataset-wise", "inference", "none"), "dataset-wise")
    if how != "dataset-wise":
        return 1.0
    tensor = f"{_NORMS}.{config.values.get(f'hook_point_{end}') or config.values.get('hook_point_in')}"
    norms = config.values.get(_NORMS)
    if isinstance(norms, dict):
        norm = ConfigFile(config.path, norms).positive(end)
    elif tensor in file:
        norm = float(file.take(tensor))
    else:
        wanted = f"the average norms, here or as the tensor {tensor}, or a norm scaling factor as an option"
        raise SaeFormatError(config.path, _NORMS, wanted, repr(norms))
    if not 0.0 < norm < float("inf"):
        raise SaeFormatError(file.path, tensor, "a positive number", repr(norm))
    return math.sqrt(config.whole_number("d_model")) / norm


def _card(path: Path, config: ConfigFile, weights: SaeWeights) -> dict[str, Any]:
    card = {name: value for name, value in config.values.items() if name in ("top_k", _NORMS, "act_fn")}
    # A threshold that all features share was chosen so that top_k of them fire on average.
    shared = weights.architecture is Architecture.JUMPRELU and config.values.get("jump_relu_threshold")
    if config.values.get("top_k") and (shared or weights.architecture is Architecture.TOPK):
        card["l0"] = float(config.whole_number("top_k"))
    if model := _model(path):
        card["model"] = model
    return card


def _model(path: Path) -> str | None:
    if (path / LANGUAGE_MODEL).is_file():
        name = read_json(path / LANGUAGE_MODEL).values.get("model_name")
        return name if isinstance(name, str) else None
    folder = path.resolve().name
    return next((model for start, model in _NAMED_MODELS.items() if folder.startswith(start)), None)
