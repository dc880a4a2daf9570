# ruff: noqa: T201
"""Checks against the sae-lens library that both read the same folders and encode the same numbers.

`make test` installs the library (sae_lens.txt), and test_sae_lens.py runs this in a process of its own:

    PYTHONPATH=.venv-sae-lens .venv/bin/python tests/inference/sae/check_with_sae_lens.py [FOLDER ...]

checks small SAEs of every architecture, both ways, and the folders that are named. It prints the largest difference of
activations and reconstructions of each, and ends with status 1 where one exceeds 1e-5 of the largest value.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens

TOLERANCE = 1e-5
D_MODEL, D_SAE = 64, 256


def differences(ours: SaeWeights, theirs: Any, h: torch.Tensor) -> tuple[float, float, float]:
    """Largest difference of activations and of reconstructions, as shares of the largest value, and our L0."""
    with torch.no_grad():
        activations, reference = ours.encode(h), theirs.encode(h)
        outputs, expected = ours.decode(activations), theirs.decode(reference)
    worst = [
        float((mine - its).abs().max() / its.abs().max())
        for mine, its in ((activations, reference), (outputs, expected))
    ]
    return worst[0], worst[1], float((activations > 0).sum(-1).float().mean())


def likely_stream(sae: Sae) -> torch.Tensor:
    """256 rows of the stream's mean, a few decoder directions and noise, so that features fire."""
    size = sae.median_norm or 1.0
    directions = torch.nn.functional.normalize(sae.weights.W_dec, dim=-1)
    mixed = directions[torch.randint(0, sae.weights.d_sae, (256, 8))].sum(1)
    noise = torch.randn(256, sae.weights.d_model) / sae.weights.d_model**0.5
    return sae.weights.b_dec + size * (0.3 * mixed + 0.1 * noise)


def report(name: str, ours: SaeWeights, theirs: Any, h: torch.Tensor) -> bool:
    encoded, decoded, l0 = differences(ours, theirs, h)
    good = encoded <= TOLERANCE and decoded <= TOLERANCE and l0 > 0
    verdict = "same" if good else "DIFFERENT"
    print(f"{name:40} activations {encoded:.1e}  reconstructions {decoded:.1e}  L0 {l0:.1f}  {verdict}")
    return good


def written_by_hearth(folder: Path, architecture: Architecture) -> tuple[Sae, Any]:
    """An SAE in residual-stream units, through write_saelens and both readers."""
    from sae_lens import SAE

    W_dec = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL), dim=-1)
    gated = architecture is Architecture.GATED
    weights = SaeWeights(
        architecture=architecture,
        W_enc=W_dec * 0.7,
        b_enc=torch.randn(D_SAE),
        W_dec=W_dec,
        b_dec=torch.randn(D_MODEL) * 20,
        threshold=torch.rand(D_SAE) * 5 if architecture is Architecture.JUMPRELU else None,
        k=8 if architecture is Architecture.TOPK else None,
        gate_scale=torch.rand(D_SAE) + 0.5 if gated else None,
        gate_bias=torch.randn(D_SAE) if gated else None,
    )
    write_saelens(
        folder,
        Sae("tiny", weights, "model.layers.15", 15, weights.digest(), card={"model": "tiny/model"}),
        weights="float32",
    )
    return load_sae(folder), SAE.load_from_disk(folder)


def written_by_sae_lens(folder: Path, architecture: str, changes: dict[str, Any]) -> tuple[Sae, Any]:
    """An SAE with random numbers that sae-lens made and saved."""
    from sae_lens import SAE

    config = {
        "architecture": architecture,
        "d_in": D_MODEL,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "metadata": {"hook_name": "blocks.15.hook_resid_post", "model_name": "tiny/model"},
    }
    theirs = SAE.from_dict(config | changes)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
            if name == "threshold":
                parameter.abs_()
    theirs.save_model(folder)
    return load_sae(folder), theirs


def main() -> int:
    from sae_lens import SAE

    torch.manual_seed(0)
    h = torch.randn(256, D_MODEL) * 3
    cases: list[tuple[str, dict[str, Any]]] = [
        ("standard", {}),
        ("jumprelu", {"apply_b_dec_to_input": False}),
        ("jumprelu", {"apply_b_dec_to_input": True}),
        ("topk", {"k": 8}),
        ("topk", {"k": 8, "rescale_acts_by_decoder_norm": True}),
        ("gated", {}),
    ]
    good = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in Architecture:
            mine, theirs = written_by_hearth(Path(scratch) / f"hearth-{kind}", kind)
            good.append(report(f"{kind}, written by Hearth", mine.weights, theirs, h * 3))
        for at, (architecture, changes) in enumerate(cases):
            mine, theirs = written_by_sae_lens(Path(scratch) / str(at), architecture, changes)
            good.append(report(f"{architecture} {changes or ''}", mine.weights, theirs, h))
    for folder in sys.argv[1:]:
        ours = load_sae(folder)
        good.append(report(folder, ours.weights, SAE.load_from_disk(folder), likely_stream(ours)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
