"""hearth.json and hearth.safetensors: what Hearth knows of an SAE and SAELens' format has no place for.

hearth.json holds `version`, `id`, `weights_digest`, `median_norm`, `strength_constant` and `card`;
hearth.safetensors holds `scales`, [d_sae] in float32, and is missing where they are unknown.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.inference.sae.base import Sae
from services.inference.sae.errors import SaeFormatError
from services.inference.sae.tensors import read_json, read_safetensors, write_json, write_safetensors

SIDE_JSON = "hearth.json"
SIDE_TENSORS = "hearth.safetensors"
VERSION = 1


def write_side_file(folder: Path, sae: Sae) -> None:
    """Writes both files, or removes the second where there are no scales."""
    values = {
        "version": VERSION,
        "id": sae.id,
        "weights_digest": sae.weights_digest,
        "median_norm": sae.median_norm,
        "strength_constant": sae.strength_constant,
        "card": sae.card,
    }
    if sae.scales is None:
        (folder / SIDE_TENSORS).unlink(missing_ok=True)
    else:
        write_safetensors(folder / SIDE_TENSORS, {"scales": sae.scales.float().cpu().contiguous()})
    write_json(folder / SIDE_JSON, values)


def apply_side_file(folder: Path, sae: Sae) -> Sae:
    """The SAE with what the side files say; unchanged where there are none.

    Raises SaeFormatError where they are broken, or were written for other weights than those beside them.
    """
    if not (folder / SIDE_JSON).exists():
        return sae
    side = read_json(folder / SIDE_JSON)
    side.require("version", (VERSION,), None)
    digest = side.values.get("weights_digest")
    if digest != sae.weights_digest:
        raise SaeFormatError(
            side.path, "weights_digest", f"{sae.weights_digest}, that of the weights", repr(digest)
        )
    median = side.values.get("median_norm")
    tensors = folder / SIDE_TENSORS
    return replace(
        sae,
        id=str(side.values.get("id") or sae.id),
        median_norm=None if median is None else side.positive("median_norm"),
        strength_constant=side.positive("strength_constant"),
        scales=read_safetensors(tensors).take("scales", sae.weights.d_sae) if tensors.exists() else None,
        card=side.values.get("card") or sae.card,
    )
