"""`hearth sae evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Corpus,
    Device,
    Model,
    SaeFolder,
    Shards,
    Threads,
    console,
    default_folder,
    friendly,
    progress_bar,
    sae_app,
)


@sae_app.command()
def evaluate(
    sae: SaeFolder,
    corpus: Corpus,
    activations: Shards,
    model: Model = EMBEDDED_MODEL_ID,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the state by which a killed evaluation goes on; in the cache unless set."
        ),
    ] = None,
    cross_entropy_tokens: Annotated[
        int, typer.Option(help="Tokens of each kind of text for cross-entropy.")
    ] = 12_000,
    threads: Threads = 2,
    device: Device = "cpu",
) -> None:
    """Measure an SAE on held-out documents; writes metrics.json, evaluation.md with plots, and activation scales."""
    from services.saelab.evaluate import EvaluateSettings
    from services.saelab.evaluate import evaluate as measure
    from services.saelab.evaluation_report import EVALUATION
    from services.saelab.heldout import HeldoutSettings

    with friendly():
        settings = EvaluateSettings(
            sae,
            corpus,
            activations,
            model,
            work or default_folder("evaluate"),
            heldout=HeldoutSettings(cross_entropy_tokens=cross_entropy_tokens),
            device=device,
            threads=threads,
        )
        with progress_bar() as bar:
            tasks: dict[str, Any] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what)
                bar.update(tasks[what], completed=done, total=total)

            found = measure(settings, show)
        shown = {key: found[key] for key in ("plain", "chat", "dictionary") if key in found}
        console.print_json(json.dumps(shown))
        console.print(f"wrote {sae / EVALUATION}")
