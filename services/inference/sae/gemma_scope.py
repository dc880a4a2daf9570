"""Gemma Scope: params.npz with W_enc [d_model, d_sae], W_dec [d_sae, d_model], b_enc, b_dec and threshold.

JumpReLU, without subtracting b_dec from the input. The layer stands in the path (`layer_20/width_16k/average_l0_71`).
Source: Lieberum et al. 2024, "Gemma Scope", and its published tutorial.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.inference.sae.archives import require_honest
from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.hook_names import hook_point
from services.inference.sae.registry import LoadOptions, SaeFormat
from services.inference.sae.tensors import TensorFile

PARAMS = "params.npz"
_LAYER = re.compile(r"layer_(\d+)")
_AVERAGE_L0 = re.compile(r"average_l0_(\d+)")
_OTHER_SITE = re.compile(r"gemma-scope-.*-(mlp|att|transcoders)|embedding")


def detects(path: Path) -> bool:
    """Whether the path is an .npz file, or a folder with params.npz."""
    return path.suffix == ".npz" if path.is_file() else (path / PARAMS).is_file()


def load(path: Path, options: LoadOptions) -> Sae:
    """The SAE of a Gemma Scope file. Raises SaeFormatError."""
    file = path if path.is_file() else path / PARAMS
    tensors = _read_npz(file)
    layer = _layer(file, options)
    W_enc = tensors.take("W_enc", None, None)
    d_model, d_sae = W_enc.shape
    weights = SaeWeights(
        architecture=Architecture.JUMPRELU,
        W_enc=W_enc.T.contiguous(),
        b_enc=tensors.take("b_enc", d_sae),
        W_dec=tensors.take("W_dec", d_sae, d_model),
        b_dec=tensors.take("b_dec", d_model),
        threshold=tensors.take("threshold", d_sae),
    )
    return Sae(
        id=options.id or _id(file),
        weights=weights,
        hook_point=hook_point(layer),
        layer=layer,
        weights_digest=weights.digest(),
        card=_card(file),
    )


FORMAT = SaeFormat("gemma_scope", detects, load)


def _read_npz(file: Path) -> TensorFile:
    require_honest(file)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return TensorFile(file, {name: torch.from_numpy(arrays[name]) for name in arrays.files})
    except (OSError, ValueError, TypeError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise SaeFormatError(
            file, "", "an .npz file of plain arrays", f"one that does not parse ({error})"
        ) from error


def _layer(file: Path, options: LoadOptions) -> int:
    parts = file.resolve().parts
    if site := next((part for part in reversed(parts) if _OTHER_SITE.search(part)), None):
        raise SaeFormatError(file, "path", "an SAE of the residual stream", repr(site))
    if options.layer is not None:
        return options.layer
    for part in reversed(parts):
        if match := _LAYER.fullmatch(part):
            return int(match[1])
    raise SaeFormatError(
        file, "path", "a folder layer_N in it, or the layer as an option", str(file.resolve())
    )


def _id(file: Path) -> str:
    """`layer_20/width_16k/average_l0_71` becomes `layer_20-width_16k-average_l0_71`."""
    parts = list(file.resolve().parent.parts)
    start = next((at for at in reversed(range(len(parts))) if _LAYER.fullmatch(parts[at])), len(parts) - 1)
    return "-".join(parts[start:])


def _card(file: Path) -> dict[str, Any]:
    # Gemma models always start with BOS, and so did the training data; that token itself was left out.
    card: dict[str, Any] = {"prepend_bos": True}
    for part in file.resolve().parts:
        if match := _AVERAGE_L0.fullmatch(part):
            card["l0"] = float(match[1])
    return card
