"""`hearth sae write`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Device,
    Model,
    Seed,
    Threads,
    console,
    default_folder,
    friendly,
    progress_bar,
    sae_app,
)


@sae_app.command()
def write(
    out: Annotated[
        Path,
        typer.Option(
            help="File of the documents.", default_factory=lambda: default_folder("written") / "written.jsonl"
        ),
    ],
    model: Model = EMBEDDED_MODEL_ID,
    tokens: Annotated[int, typer.Option(help="Tokens to write, about; more goes on.", min=1)] = 150_000,
    temperature: Annotated[float, typer.Option(help="Of the draws.", min=0, max=2)] = 1.0,
    top_p: Annotated[
        float, typer.Option(help="Mass of the most likely tokens that are drawn from.", min=0.01, max=1)
    ] = 0.9,
    rows: Annotated[int, typer.Option(help="Documents written side by side.", min=1)] = 16,
    threads: Threads = 1,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Let the model write chats and short pieces itself, from many prompts; goes on where it was stopped."""
    from services.saelab.write import write as let_write
    from services.saelab.write_settings import Status, WriteSettings

    with friendly():
        settings = WriteSettings(
            out,
            model,
            tokens,
            seed,
            temperature,
            top_p,
            rows=rows,
            device=device,
            threads=threads,
        )
        columns = ("{task.fields[rate]:.0f} tok/s", "{task.fields[left_out]} left out")
        with progress_bar(*columns) as bar:
            task = bar.add_task("tokens written", total=tokens, rate=0.0, left_out=0)

            def show(status: Status) -> None:
                bar.update(
                    task,
                    completed=min(status.tokens, tokens),
                    rate=status.tokens_per_second,
                    left_out=status.left_out,
                )

            written = let_write(settings, show)
        table = Table("documents", "of them chats", "tokens", "left out", title=f"written to {out}")
        chats = sum(document.is_chat for document in written.documents)
        left_out = ", ".join(f"{count} {wrong}" for wrong, count in written.left_out.most_common())
        table.add_row(f"{len(written.documents):,}", f"{chats:,}", f"{written.tokens:,}", left_out or "none")
        console.print(table)
