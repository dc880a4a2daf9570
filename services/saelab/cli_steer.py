"""`hearth sae steer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Device,
    Model,
    SaeFolder,
    Threads,
    console,
    default_folder,
    friendly,
    progress_bar,
    sae_app,
)


@sae_app.command()
def steer(
    sae: SaeFolder,
    model: Model = EMBEDDED_MODEL_ID,
    journal: Annotated[
        Path | None,
        typer.Option(help="File that keeps the texts; in the cache, named after the SAE, unless set."),
    ] = None,
    topics: Annotated[
        Path | None,
        typer.Option(help="TOML file of topics; services/saelab/steering_topics.toml unless set."),
    ] = None,
    by_activation: Annotated[
        int, typer.Option(help="Candidates for each topic that are active on its sentences.", min=1)
    ] = 5,
    by_output: Annotated[
        int, typer.Option(help="Candidates that promote its words, where features.parquet is there.", min=0)
    ] = 3,
    by_text: Annotated[
        int,
        typer.Option(help="Candidates in whose texts of `hearth sae features` most of its words are.", min=0),
    ] = 3,
    texts: Annotated[
        Path | None, typer.Option(help="Journal of these texts; where that command keeps it unless set.")
    ] = None,
    semifinalists: Annotated[int, typer.Option(help="Candidates tried at all doses.", min=1)] = 4,
    finalists: Annotated[int, typer.Option(help="Of these, those tried on all questions.", min=1)] = 2,
    new_tokens: Annotated[int, typer.Option(help="Length of each text.", min=4)] = 48,
    rows: Annotated[int, typer.Option(help="Texts written side by side.", min=1)] = 32,
    calibrate: Annotated[
        bool, typer.Option(help="Set the strength unit so that 0.5 is a good dose, and search again with it.")
    ] = False,
    second_judge: Annotated[
        bool, typer.Option(help="Have the texts judged by a sentence encoder too (fetched once, 84 MB).")
    ] = True,
    threads: Threads = 2,
    device: Device = "cpu",
) -> None:
    """Find the feature that steers best for each of 40 topics; writes steering.json, steering.md, steering.png."""
    from services.encoder.minilm import ensure_minilm, load_encoder
    from services.inference.sae.formats import load_sae
    from services.saelab.feature_bench import Stage
    from services.saelab.steer import TOPICS, SteerSettings, find_steering_features
    from services.saelab.steering_candidates import CandidateSettings

    with friendly():
        loaded = load_sae(sae)
        name = f"{loaded.id}-{loaded.weights_digest[:8]}"
        journal = journal or default_folder("steer") / f"{name}.jsonl"
        texts = texts or default_folder("features") / name / f"{Stage.STEERABILITY}.jsonl"
        encode = load_encoder(ensure_minilm(), threads, device) if second_judge else None
        settings = SteerSettings(
            sae,
            model,
            journal,
            topics or TOPICS,
            CandidateSettings(by_activation, by_output, by_text, texts),
            semifinalists,
            finalists,
            calibrate=calibrate,
            new_tokens=new_tokens,
            rows=rows,
            device=device,
            threads=threads,
        )
        with progress_bar() as bar:
            tasks: dict[str, Any] = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage)
                bar.update(tasks[stage], completed=done, total=total)

            best = find_steering_features(settings, encode, show)
        table = Table("topic", "feature", "strength", "gain", "loss", "steers", "steered text")
        for found in best:
            text = " ".join(found.samples[0].steered.split())[:80]
            numbers = f"{found.dose.gain:+.0f}", f"{found.dose.loss:.2f}"
            table.add_row(
                found.topic, str(found.feature), f"{found.strength}", *numbers, str(found.steers), text
            )
        console.print(table)
        console.print(f"{sum(found.steers for found in best)} of {len(best)} steer")
