"""`hearth sae steer`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Device,
    Model,
    SaeFolder,
    Threads,
    console,
    friendly,
    progress_bar,
    sae_app,
)


@sae_app.command()
def steer(
    sae: SaeFolder,
    model: Model = EMBEDDED_MODEL_ID,
    candidates: Annotated[int, typer.Option(help="Features tried for each topic.", min=1)] = 4,
    threads: Threads = 2,
    device: Device = "cpu",
) -> None:
    """Find features that steer visibly and fluently for some topics; writes steering.json."""
    from services.saelab.steer import SteerSettings, find_steering_features

    with friendly():
        settings = SteerSettings(sae, model, candidates=candidates, device=device, threads=threads)
        with progress_bar() as bar:
            task = bar.add_task("steered texts", total=None)
            best = find_steering_features(
                settings, progress=lambda done, total: bar.update(task, completed=done, total=total)
            )
        table = Table("topic", "feature", "strength", "gain", "loss", "steers", "steered text")
        for trial in best:
            text = " ".join(trial.samples[0].steered.split())[:80]
            row = (
                str(trial.feature),
                f"{trial.strength}",
                f"{trial.gain:+.0f}",
                f"{trial.loss:.2f}",
                str(trial.steers),
            )
            table.add_row(trial.topic, *row, text)
        console.print(table)
