"""SAELens' cfg.json, in the layout of its version 6 (nested metadata) and the flat ones before it, as one.

Source: sae-lens 6.54, `saes/sae.py` and `loading/pretrained_sae_loaders.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference.sae.base import Architecture
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.hook_names import layer_of
from services.inference.sae.registry import LoadOptions
from services.inference.sae.tensors import ConfigFile, read_json

CONFIG = "cfg.json"
SCALER = "activation_scaler.json"

_OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_ARCHITECTURES = {
    "standard": Architecture.RELU,
    "relu": Architecture.RELU,
    "jumprelu": Architecture.JUMPRELU,
    # BatchTopK is a way to train: SAELens saves it as jumprelu with its threshold, older tools as topk.
    "batchtopk": Architecture.TOPK,
    "topk": Architecture.TOPK,
    "gated": Architecture.GATED,
}
_STRUCTURE = {"architecture", "d_in", "d_sae", "dtype", "device", "hook_name", "hook_layer", "k"}
_CARD_NAMES = {"model_name": "model", "dataset_path": "dataset"}


@dataclass(frozen=True, slots=True)
class SaeLensConfig:
    """What decides how the tensors are read."""

    architecture: Architecture
    d_model: int
    d_sae: int
    layer: int
    k: int | None
    subtracts_b_dec: bool
    """Whether b_dec is subtracted from the input before encoding."""
    rescales_by_decoder_norm: bool
    """TopK: whether the choice is made among activations times the norms of their decoder rows."""
    finetuning_scale: bool
    """Whether a tensor `scaling_factor` multiplies the activations before decoding (up to version 5)."""
    norm_scaling_factor: float
    """The input is multiplied by this; 1.0 where nothing is normalised or all is folded in already."""
    card: dict[str, Any]


def read_config(folder: Path, options: LoadOptions) -> SaeLensConfig:
    """Reads and checks cfg.json. Raises SaeFormatError for whatever Hearth cannot serve exactly."""
    read = read_json(folder / CONFIG)
    metadata = read.values.get("metadata") or {}
    flat = {**read.values, **metadata} if isinstance(metadata, dict) else dict(read.values)
    flat.pop("metadata", None)
    config = ConfigFile(read.path, {_OLD_NAMES.get(key, key): value for key, value in flat.items()})
    config.require("reshape_activations", ("none", None), "none")
    config.require("hook_head_index", (None,), None)
    architecture = _architecture(config)
    return SaeLensConfig(
        architecture=architecture,
        d_model=config.whole_number("d_in"),
        d_sae=config.whole_number("d_sae"),
        layer=_layer(config, options),
        k=_k(config) if architecture is Architecture.TOPK else None,
        subtracts_b_dec=config.require("apply_b_dec_to_input", (True, False), True),
        rescales_by_decoder_norm=bool(config.values.get("rescale_acts_by_decoder_norm", False)),
        finetuning_scale=bool(config.values.get("finetuning_scaling_factor", False)),
        norm_scaling_factor=_norm_scaling_factor(folder, config, options),
        card={
            _CARD_NAMES.get(key, key): value
            for key, value in config.values.items()
            if value is not None and key not in _STRUCTURE
        },
    )


def _architecture(config: ConfigFile) -> Architecture:
    name = config.require("architecture", tuple(_ARCHITECTURES), "standard")
    activation = config.require("activation_fn", ("relu", "topk", None), "relu")
    if activation == "topk":
        config.require("architecture", ("standard", "topk"), "standard")
        return Architecture.TOPK
    return _ARCHITECTURES[name]


def _k(config: ConfigFile) -> int:
    arguments = config.values.get("activation_fn_kwargs")
    if "k" not in config.values and isinstance(arguments, dict):
        return ConfigFile(config.path, arguments).whole_number("k")
    return config.whole_number("k")


def _layer(config: ConfigFile, options: LoadOptions) -> int:
    if options.layer is not None:
        return options.layer
    name = config.values.get("hook_name")
    layer = layer_of(name) if isinstance(name, str) else None
    if layer is None:
        wanted = "a block's output, such as blocks.15.hook_resid_post or model.layers.15 (or say the layer)"
        raise SaeFormatError(config.path, "hook_name", wanted, repr(name))
    return layer


def _norm_scaling_factor(folder: Path, config: ConfigFile, options: LoadOptions) -> float:
    key = "normalize_activations"
    how = config.values.get(key)
    if how in (None, False, "none"):
        if options.norm_scaling_factor is not None:
            problem = f"{how!r}, which takes no norm_scaling_factor"
            raise SaeFormatError(config.path, key, "'expected_average_only_in'", problem)
        return 1.0
    if how not in (True, "expected_average_only_in"):
        wanted = (
            "'none' or 'expected_average_only_in' (others differ for every token and cannot be folded in)"
        )
        raise SaeFormatError(config.path, key, wanted, repr(how))
    scale = options.norm_scaling_factor
    if scale is None:
        scale = config.values.get("norm_scaling_factor")
    if scale is None and (folder / SCALER).exists():
        scale = read_json(folder / SCALER).values.get("scaling_factor")
    if not isinstance(scale, (int, float)) or not 0.0 < scale < float("inf"):
        wanted = f"a positive norm_scaling_factor beside {how!r}: as an option, in {CONFIG}, or in {SCALER}"
        raise SaeFormatError(config.path, key, wanted, repr(scale))
    return float(scale)
