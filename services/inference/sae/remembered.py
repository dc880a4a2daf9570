"""What the doctor found before: the same SAE on the same model is examined once, not at every start."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from services.inference.sae.base import Sae
from services.inference.sae.doctor import Diagnosis, Status

DOCTOR_VERSION = 1
"""Raise it with every change of the doctor or of its texts: earlier findings are then forgotten."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is kept of a diagnosis that let an SAE pass."""

    sae: Sae
    """The SAE with its median norm filled in."""
    warnings: tuple[str, ...]


def examine_once(
    sae: Sae, on: tuple[str, ...], folder: Path, examine: Callable[[Sae], Diagnosis], *, allow_mismatch: bool
) -> Finding:
    """The doctor's finding, from `folder` where the same SAE passed before on what `on` names (digests of the model and
    its tokenizer, type). Raises SaeMismatch as the doctor does; a pass by override is not kept.
    """
    path = folder / f"{_name(sae, on)}.json"
    try:
        kept = json.loads(path.read_text())
        return Finding(replace(sae, median_norm=float(kept["median_norm"])), tuple(kept["warnings"]))
    except (OSError, ValueError, KeyError, TypeError):
        diagnosis = examine(sae)
    diagnosis.raise_if_refused()
    warnings = tuple(check.message for check in diagnosis.checks if check.status is not Status.OK)
    if not allow_mismatch:
        _keep(path, {"sae": sae.id, "median_norm": diagnosis.sae.median_norm, "warnings": warnings})
    return Finding(diagnosis.sae, warnings)


def _name(sae: Sae, on: tuple[str, ...]) -> str:
    has_scales = sae.scales is not None
    facts = [DOCTOR_VERSION, *on, sae.weights_digest, sae.layer, sae.median_norm, has_scales, sae.card]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _keep(path: Path, finding: dict[str, object]) -> None:
    """Writes a finding whole or not at all; a cache that cannot be written costs time, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(finding))
        partial.replace(path)
    except OSError:
        return
