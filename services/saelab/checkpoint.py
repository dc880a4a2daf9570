"""Checkpoints of long steps: all that what comes next depends on, written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from services.saelab.errors import RunMismatch, SaeLabError

SAVE_SECONDS = 30.0
"""How often the state of a stage is written while it runs: what a kill loses at most, but for one batch."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run between two steps."""

    tensors: dict[str, Tensor]
    """Parameters, Adam's moments, steps since each feature was active."""
    state: dict[str, Any]
    """Numbers: the step, the moving threshold, seconds so far, the curves."""


def save_checkpoint(path: Path, checkpoint: Checkpoint, run: dict[str, Any]) -> None:
    """Writes a checkpoint of the run of these settings. A full disk raises SaeLabError; the one before stays."""
    partial = path.with_suffix(".partial")
    metadata = {"state": json.dumps(checkpoint.state), "run": json.dumps(run, sort_keys=True)}
    try:
        save_file(
            {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, partial, metadata
        )
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise SaeLabError(
            f"the checkpoint could not be written to {path} ({error}): free some space and run the "
            "same command again, which goes on from the one before"
        ) from error


def load_checkpoint(path: Path, run: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint at a path, None where there is none. Raises RunMismatch where it is another run's."""
    found = run_of(path)
    if found is None:
        return None
    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _broken(path, error) from error
    changed = sorted(key for key in run.keys() | found.keys() if run.get(key) != found.get(key))
    if changed:
        raise RunMismatch(
            f"{path} is of another run (different: {', '.join(changed)}): choose another folder, or delete it"
        )
    return Checkpoint(tensors, state)


def run_of(path: Path) -> dict[str, Any] | None:
    """What decides the result of the run whose checkpoint this is, None where there is none."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            run: dict[str, Any] = json.loads((file.metadata() or {})["run"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _broken(path, error) from error
    return run


def _broken(path: Path, error: Exception) -> SaeLabError:
    return SaeLabError(f"{path} is broken ({error}): delete it to start again")
