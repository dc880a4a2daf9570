"""A trained SAE, folded back to the residual stream's own units and saved in SAELens' format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.hook_names import layer_of
from services.inference.sae.write_saelens import write_saelens
from services.saelab.batch_topk import Parameters
from services.saelab.errors import HookPointError
from services.saelab.outputs import told_if_full, write_json
from services.saelab.train import Trained

TRAINING = "training.json"


def folded(p: Parameters, thresholds: Float[Tensor, " features"], scale: float) -> SaeWeights:
    """The JumpReLU SAE that reads h where training read x = scale * h; decoder rows keep norm 1."""
    b_dec = p.b_dec / scale
    return SaeWeights(
        architecture=Architecture.JUMPRELU,
        W_enc=p.W_enc.clone(),
        b_enc=p.b_enc / scale - p.W_enc @ b_dec,
        W_dec=p.W_dec.clone(),
        b_dec=b_dec,
        threshold=thresholds / scale,
    )


def save_sae(
    folder: Path, sae_id: str, trained: Trained, training: dict[str, Any], median_norm: float
) -> Sae:
    """Writes the SAE and `training.json`, which says how it was made; returns the SAE as it reads back."""
    collected = training["activations"]
    layer = layer_of(collected["hook_point"])
    if layer is None:
        raise HookPointError(f"{collected['hook_point']!r} is not the output of a block")
    weights = folded(trained.parameters, trained.thresholds, trained.scale)
    sae = Sae(
        id=sae_id,
        weights=weights,
        hook_point=collected["hook_point"],
        layer=layer,
        weights_digest=weights.digest(),
        median_norm=median_norm,
        card={
            "model": collected["model"],
            "context_size": collected["window"],
            "prepend_bos": collected.get("prepend_bos", False),
            "dataset": "text inside freely licensed packages, see README.md",
            "k": training["train"]["k"],
            "tokens": trained.tokens_seen,
        },
    )
    with told_if_full(folder):
        stored = write_saelens(folder, sae)
    write_json(folder / TRAINING, training)
    return stored
