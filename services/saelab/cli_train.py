"""`hearth sae activations` and `hearth sae train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Corpus,
    Device,
    Model,
    SaeFolder,
    Seed,
    Shards,
    Threads,
    default_folder,
    friendly,
    progress_bar,
    sae_app,
)


@sae_app.command()
def activations(
    corpus: Corpus,
    out: Shards,
    model: Model = EMBEDDED_MODEL_ID,
    hook_point: Annotated[str, typer.Option(help="Block whose output is collected.")] = "model.layers.15",
    tokens: Annotated[int, typer.Option(help="Tokens to collect, at most.")] = 1_200_000,
    window: Annotated[int, typer.Option(help="Longest run of tokens read at once.")] = 256,
    workers: Annotated[int, typer.Option(help="Processes side by side, each with its own model.", min=1)] = 1,
    threads: Threads = 1,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Collect residual activations of the corpus; goes on where it was stopped."""
    from services.saelab.activations import ActivationSettings, collect

    with friendly(), progress_bar() as bar:
        task = bar.add_task("shards of activations", total=None)
        settings = ActivationSettings(
            corpus,
            out,
            model,
            hook_point,
            tokens,
            window,
            seed=seed,
            device=device,
            workers=workers,
            threads=threads,
        )
        collect(settings, progress=lambda done, total: bar.update(task, completed=done, total=total))


@sae_app.command()
def train(
    out: SaeFolder,
    corpus: Corpus,
    activations: Shards,
    run: Annotated[
        Path, typer.Option(help="Folder of the checkpoint.", default_factory=lambda: default_folder("run"))
    ],
    sae_id: Annotated[
        str, typer.Option("--id", help="Id to serve it under; the folder's name unless set.")
    ] = "",
    features: Annotated[int, typer.Option(help="Size of the dictionary.", min=1)] = 4096,
    k: Annotated[int, typer.Option(help="Active features a token, on average.", min=1)] = 32,
    epochs: Annotated[int, typer.Option(help="Passes over the activations.", min=1)] = 1,
    batch: Annotated[int, typer.Option(help="Tokens a step.", min=1)] = 512,
    learning_rate: Annotated[float, typer.Option(help="Adam's.")] = 6e-4,
    dead_tokens: Annotated[
        int, typer.Option(help="A feature idle over so many tokens is dead and gets revived.", min=1)
    ] = 300_000,
    prefix: Annotated[
        list[int] | None,
        typer.Option(help="Size of a nested dictionary (Matryoshka); may be repeated. None: a plain SAE."),
    ] = None,
    max_density: Annotated[
        float, typer.Option(help="Keep features from being active on a larger share of tokens; 0: no cap.")
    ] = 0.0,
    first_shards: Annotated[
        int, typer.Option(help="Train on so many first shards; 0: on all that are there at the start.", min=0)
    ] = 0,
    heldout_shards: Annotated[
        int, typer.Option(help="Last shards kept out of training, for the curves.", min=0)
    ] = 0,
    threads: Threads = 2,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Train an SAE on collected activations and save it in SAELens' format; goes on from the last checkpoint."""
    from services.saelab.pipeline import train_and_save
    from services.saelab.recipe import Metrics, TrainSettings

    with (
        friendly(),
        progress_bar(
            "VE {task.fields[ve]:.3f}",
            "L0 {task.fields[l0]:.0f}",
            "dead {task.fields[dead]:.1%}",
            "{task.fields[heldout]}",
        ) as bar,
    ):
        task = bar.add_task("training steps", total=None, ve=0.0, l0=0.0, dead=0.0, heldout="")

        def show(metrics: Metrics, steps: int) -> None:
            bar.update(
                task,
                completed=metrics.step,
                total=steps,
                ve=metrics.variance_explained,
                l0=metrics.l0,
                dead=metrics.dead,
            )
            if metrics.heldout_variance_explained is not None:
                found = f"held out VE {metrics.heldout_variance_explained:.3f} L0 {metrics.heldout_l0:.0f}"
                bar.update(task, heldout=found)

        settings = TrainSettings(
            activations,
            run,
            features,
            k,
            batch,
            epochs,
            learning_rate,
            dead_tokens=dead_tokens,
            prefixes=tuple(sorted(prefix or ())),
            max_density=max_density,
            first_shards=first_shards,
            heldout_shards=heldout_shards,
            seed=seed,
            device=device,
            threads=threads,
        )
        train_and_save(settings, corpus, out, sae_id or out.resolve().name, show)
