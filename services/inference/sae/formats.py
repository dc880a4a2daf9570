"""All SAE formats that Hearth reads. A new one is a new file here and one registration."""

from __future__ import annotations

from pathlib import Path

from services.inference.sae import gemma_scope, goodfire, llama_scope, saelens, sparsify
from services.inference.sae.base import Sae
from services.inference.sae.registry import FormatRegistry, LoadOptions

FORMATS = FormatRegistry()
FORMATS.register(saelens.FORMAT)
FORMATS.register(gemma_scope.FORMAT)
FORMATS.register(llama_scope.FORMAT)
FORMATS.register(goodfire.FORMAT)
FORMATS.register(sparsify.FORMAT)


def load_sae(
    path: str | Path,
    *,
    format_name: str | None = None,
    sae_id: str | None = None,
    layer: int | None = None,
    norm_scaling_factor: float | None = None,
) -> Sae:
    """The SAE at a path (a folder, or the one file of formats that have one), all tensors float32 on the CPU.

    The format is detected unless it is named; see LoadOptions for the rest. Raises UnknownSaeFormat or SaeFormatError.
    """
    return FORMATS.load(path, LoadOptions(sae_id, layer, norm_scaling_factor), format_name)
