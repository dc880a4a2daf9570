"""Goodfire's published SAEs: one .pth or .pt file with encoder_linear and decoder_linear, weight and bias.

ReLU of a linear layer [d_sae, d_model], back through one [d_model, d_sae]; nothing is subtracted from the input. The
layer stands at the end of the file's name (`Llama-3.1-8B-Instruct-SAE-l19.pth`). Source: the README beside the files.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from services.inference.sae.archives import require_honest
from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.hook_names import hook_point
from services.inference.sae.registry import LoadOptions, SaeFormat
from services.inference.sae.tensors import TensorFile

SUFFIXES = (".pth", ".pt")
_LAYER = re.compile(r"-l(\d+)$")


def detects(path: Path) -> bool:
    """Whether the path is a .pth or .pt file, or a folder with exactly one."""
    return _file(path) is not None


def load(path: Path, options: LoadOptions) -> Sae:
    """The SAE of a Goodfire file; pickled objects other than tensors are refused. Raises SaeFormatError."""
    file = _file(path)
    if file is None:
        raise SaeFormatError(path, "", f"one file that ends in {' or '.join(SUFFIXES)}", "none or several")
    layer = _layer(file, options)
    tensors = _read(file)
    W_enc = tensors.take("encoder_linear.weight", None, None)
    d_sae, d_model = W_enc.shape
    weights = SaeWeights(
        architecture=Architecture.RELU,
        W_enc=W_enc,
        b_enc=tensors.take("encoder_linear.bias", d_sae),
        W_dec=tensors.take("decoder_linear.weight", d_model, d_sae).T.contiguous(),
        b_dec=tensors.take("decoder_linear.bias", d_model),
    )
    return Sae(
        id=options.id or file.stem,
        weights=weights,
        hook_point=hook_point(layer),
        layer=layer,
        weights_digest=weights.digest(),
    )


FORMAT = SaeFormat("goodfire", detects, load)


def _file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix in SUFFIXES else None
    files = [child for child in path.iterdir() if child.suffix in SUFFIXES] if path.is_dir() else []
    return files[0] if len(files) == 1 else None


def _layer(file: Path, options: LoadOptions) -> int:
    if options.layer is not None:
        return options.layer
    if match := _LAYER.search(file.stem):
        return int(match[1])
    raise SaeFormatError(
        file, "file name", "one that ends in -l<layer>, or the layer as an option", repr(file.name)
    )


def _read(file: Path) -> TensorFile:
    require_honest(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a made-up pickle can raise anything
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SaeFormatError(
            file, "", "a state dict of plain tensors", f"one that does not load ({first})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SaeFormatError(file, "", "a state dict of plain tensors", type(state).__name__)
    return TensorFile(file, {str(name): tensor for name, tensor in state.items()})
