"""`hearth sae features`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Corpus,
    Device,
    Model,
    SaeFolder,
    Seed,
    Shards,
    Threads,
    console,
    default_folder,
    friendly,
    progress_bar,
    sae_app,
)


@sae_app.command()
def features(
    sae: SaeFolder,
    activations: Shards,
    corpus: Corpus,
    text: Annotated[
        Path,
        typer.Option(
            help="Documents that the model wrote itself: examples come from these alone.",
            default_factory=lambda: default_folder("written") / "written.jsonl",
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the stages' files; in the cache, named after the SAE, unless set."),
    ] = None,
    model: Model = EMBEDDED_MODEL_ID,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A stage that is not run: classes, output, steerability; may be repeated."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Measure steerability of so many features, drawn at random; more goes on.", min=1),
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of the text to read, at most.", min=1)] = 1_000_000,
    reference_tokens: Annotated[
        int, typer.Option(help="Tokens of the activations to read, at most.", min=1)
    ] = 2_000_000,
    new_tokens: Annotated[int, typer.Option(help="Length of each steered text.", min=4)] = 24,
    rows: Annotated[int, typer.Option(help="Steered texts written side by side.", min=1)] = 64,
    threads: Threads = 2,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Measure every feature: density, examples, promoted tokens, steerability, class; writes features.parquet."""
    from services.inference.sae.formats import load_sae
    from services.saelab.activating import ActivatingSettings
    from services.saelab.activation_statistics import StatisticsSettings
    from services.saelab.feature_assembly import make_features
    from services.saelab.feature_bench import OPTIONAL, FeatureSettings, Stage
    from services.saelab.steerability import SteerabilitySettings

    left_out = frozenset(without or ())
    if unknown := left_out - OPTIONAL:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))} cannot be left out; {' and '.join(sorted(OPTIONAL))} can",
            param_hint="--without",
        )
    with friendly():
        if run is None:
            loaded = load_sae(sae)
            run = default_folder("features") / f"{loaded.id}-{loaded.weights_digest[:8]}"
        settings = FeatureSettings(
            sae,
            text,
            model,
            run,
            StatisticsSettings(activations, reference_tokens),
            corpus,
            tokens=tokens,
            activating=ActivatingSettings(seed=seed),
            steerability=SteerabilitySettings(new_tokens=new_tokens, rows=rows),
            without=frozenset(Stage(name) for name in left_out),
            sample=sample,
            device=device,
            threads=threads,
            seed=seed,
        )
        units = {
            Stage.STATISTICS: "shards of activations",
            Stage.EXAMPLES: "windows of text",
            Stage.CLASSES: "windows of the corpus",
            Stage.OUTPUT: "features' effect on the output",
            Stage.STEERABILITY: "features steered",
        }
        with progress_bar() as bar:
            tasks: dict[Stage, Any] = {}

            def show(stage: Stage, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(units[stage])
                bar.update(tasks[stage], completed=done, total=total)

            made = make_features(settings, show)
        table = Table("class", "features", "with examples", "steer", title=f"features in {made.path}")
        listed = list(made.rows(columns=["feature_class", "examples", "steerability"]))
        shown = Counter(row.feature_class for row in listed if row.examples)
        steer = Counter(row.feature_class for row in listed if row.steerability)
        for kind, count in Counter(row.feature_class for row in listed).most_common():
            table.add_row(kind, f"{count:,}", f"{shown[kind]:,}", f"{steer[kind]:,}")
        console.print(table)
