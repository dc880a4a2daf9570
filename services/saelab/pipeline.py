"""Training as one step from collected activations to a saved SAE with its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from services.inference.sae.base import Sae
from services.saelab.curves import CURVES, plot_curves
from services.saelab.documents import MANIFEST
from services.saelab.errors import CorpusError
from services.saelab.export import save_sae
from services.saelab.recipe import TrainSettings
from services.saelab.shards import ShardFolder
from services.saelab.train import Progress, Trained, train


def train_and_save(
    settings: TrainSettings,
    corpus: Path,
    out: Path,
    sae_id: str,
    progress: Progress = lambda metrics, steps: None,
) -> Sae:
    """Trains (from the last checkpoint) and writes the SAE, training.json and curves.png; returns it as it reads back.

    Raises CorpusError where the corpus has no manifest, and what train() raises.
    """
    try:
        manifest = json.loads((corpus / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"no manifest of a corpus in {corpus} ({error}): make one with `hearth sae corpus`"
        ) from error
    trained = train(settings, progress)
    shards = ShardFolder(settings.activations)
    median = float(torch.cat([shard.norms for shard in shards]).median())
    training = record(settings, trained, shards, manifest, out)
    stored = save_sae(out, sae_id, trained, training, median)
    plot_curves(out / CURVES, trained.curves, sae_id)
    return stored


def record(
    settings: TrainSettings, trained: Trained, shards: ShardFolder, manifest: dict[str, Any], out: Path
) -> dict[str, Any]:
    """What training.json says: settings of every step, the corpus, tokens, time, and the commands to do it again."""
    collected = shards.run()
    return {
        "train": settings.run(),
        "activations": collected,
        "corpus": manifest,
        "tokens_distinct": trained.tokens_distinct,
        "tokens_seen": trained.tokens_seen,
        "steps": trained.curves[-1].step,
        "minutes": trained.seconds / 60,
        "collection_seconds": shards.seconds,
        "threads": settings.threads,
        "gpu": torch.cuda.get_device_name(settings.device) if settings.device.startswith("cuda") else None,
        "torch": torch.__version__,
        "commands": commands(settings, collected, manifest, out),
    }


def commands(
    settings: TrainSettings, collected: dict[str, Any], manifest: dict[str, Any], out: Path
) -> list[str]:
    """The commands that make the SAE, from the corpus to the card."""
    made = manifest["settings"]
    folder = f"models/{out.resolve().name}"
    skipped = "".join(f" --skip {name}" for name in made["skip"])
    files = "".join(f" {name}" for name in made["files"])
    on_model = f"--model {collected['model']}"
    return [
        f"hearth sae write {on_model}",
        f"hearth sae corpus{files} --characters {made['characters']} --chat-share {made['chat_share']}{skipped}",
        f"hearth sae activations {on_model} --hook-point {collected['hook_point']} "
        f"--tokens {collected['tokens']} --window {collected['window']} --seed {collected['seed']}",
        f"hearth sae train {folder} --features {settings.features} --k {settings.k} --epochs {settings.epochs} "
        f"--batch {settings.batch} --learning-rate {settings.learning_rate} --dead-tokens {settings.dead_tokens} "
        f"--seed {settings.seed}{_options(settings)}",
        f"hearth sae evaluate {folder} {on_model}",
        f"hearth sae steer {folder} {on_model} --calibrate",
        f"hearth sae features {folder} {on_model}",
        f"hearth sae steer {folder} {on_model}",
        f"hearth sae label {folder} {on_model}",
        f"hearth sae score {folder} {on_model}",
        f"hearth sae report {folder}",
        f"hearth sae card {folder}",
    ]


def _options(settings: TrainSettings) -> str:
    """The options of training that are off by default, as far as they are on."""
    options = [f" --prefix {size}" for size in settings.prefixes]
    for name in ("max_density", "first_shards", "heldout_shards"):
        if value := getattr(settings, name):
            options.append(f" --{name.replace('_', '-')} {value}")
    return "".join(options)
