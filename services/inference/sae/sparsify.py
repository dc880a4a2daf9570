"""EleutherAI's sparsify: cfg.json and sae.safetensors (encoder.weight, encoder.bias, W_dec, b_dec).

Both matrices are [num_latents, d_in]. b_dec is subtracted from the input, then the k largest of ReLU(pre)
stay. The folder's name is the hook point (`layers.10`). Source: sparsify's `sparse_coder.py` and
`fused_encoder.py`. Files of its early days count hidden states from the embedding on: the doctor finds those,
and the layer option corrects them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.folding import fold_input_bias
from services.inference.sae.hook_names import hook_point, layer_of
from services.inference.sae.registry import LoadOptions, SaeFormat
from services.inference.sae.tensors import ConfigFile, read_json, read_safetensors

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"
RUN_CONFIG = "config.json"


def detects(path: Path) -> bool:
    """Whether the folder holds cfg.json and sae.safetensors."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def load(path: Path, options: LoadOptions) -> Sae:
    """The SAE of a sparsify folder. Raises SaeFormatError."""
    config = read_json(path / CONFIG)
    config.require("activation", ("topk",), "topk")
    for refused in ("transcode", "skip_connection", "signed"):
        config.require(refused, (False,), False)
    d_model = config.whole_number("d_in")
    d_sae = _latents(config, d_model)
    layer = _layer(path, options)
    tensors = read_safetensors(path / WEIGHTS)
    W_enc = tensors.take("encoder.weight", d_sae, d_model)
    b_dec = tensors.take("b_dec", d_model)
    weights = SaeWeights(
        architecture=Architecture.TOPK,
        W_enc=W_enc,
        b_enc=fold_input_bias(W_enc, tensors.take("encoder.bias", d_sae), b_dec),
        W_dec=tensors.take("W_dec", d_sae, d_model),
        b_dec=b_dec,
        k=config.whole_number("k"),
    )
    return Sae(
        id=options.id or path.resolve().name,
        weights=weights,
        hook_point=hook_point(layer),
        layer=layer,
        weights_digest=weights.digest(),
        card={**_run_card(path), **config.values},
    )


FORMAT = SaeFormat("sparsify", detects, load)


def _latents(config: ConfigFile, d_model: int) -> int:
    if config.values.get("num_latents"):
        return config.whole_number("num_latents")
    return d_model * config.whole_number("expansion_factor")


def _layer(path: Path, options: LoadOptions) -> int:
    if options.layer is not None:
        return options.layer
    name = path.resolve().name
    layer = layer_of(name)
    if layer is None:
        wanted = "a folder named after a block's output, such as layers.10, or the layer as an option"
        raise SaeFormatError(path, "folder name", wanted, repr(name))
    return layer


def _run_card(path: Path) -> dict[str, Any]:
    """What the training run's own config.json, one folder up, says."""
    run = path.resolve().parent / RUN_CONFIG
    if not run.exists():
        return {}
    values = read_json(run).values
    names = {"model": "model", "dataset": "dataset", "ctx_len": "context_size"}
    return {ours: values[theirs] for theirs, ours in names.items() if values.get(theirs) is not None}
