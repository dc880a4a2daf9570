"""`hearth sae corpus`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from services.saelab.cli_options import Corpus, console, friendly, sae_app


@sae_app.command()
def corpus(
    out: Corpus,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Your own text: .txt, .jsonl or .parquet files, folders of them, or data sets of the hub, "
            "hf:owner/name[:config][:split][:column]. Rows hold text or messages; name another column behind a colon.",
            show_default=False,
        ),
    ] = None,
    sources: Annotated[
        bool, typer.Option(help="Add text inside freely licensed packages (services/saelab/sources.toml).")
    ] = True,
    skip: Annotated[
        list[str] | None, typer.Option(help="A source of that table to leave out; may be repeated.")
    ] = None,
    characters: Annotated[
        int, typer.Option(help="Size of the training part; about 4 characters make a token.")
    ] = 5_600_000,
    chat_share: Annotated[float, typer.Option(help="Share told as conversations.", min=0, max=1)] = 0.13,
) -> None:
    """Make the training corpus: whole documents, some held out by hash, each source capped."""
    from services.saelab.corpus import CorpusSettings, build_corpus

    with friendly():
        settings = CorpusSettings(
            out,
            tuple(files or ()),
            sources,
            skip=tuple(skip or ()),
            characters=characters,
            chat_share=chat_share,
        )
        with console.status("making the corpus") as status:
            manifest = build_corpus(settings, lambda line: status.update(line))
        table = Table("source", "documents", "characters", "held out", title=f"corpus in {out}")
        for name, row in manifest["train"].items():
            held = manifest["heldout"].get(name, {"documents": 0})
            table.add_row(name, f"{row['documents']:,}", f"{row['characters']:,}", f"{held['documents']:,}")
        console.print(table)
        for name in manifest["cut"]:
            console.print(
                f"[yellow]{escape(name)}[/yellow] was not used to its end: more --characters would take more of it"
            )


@sae_app.command()
def sources() -> None:
    """List the packages that the corpus takes text from, each with its licence and genre."""
    from services.saelab.sources import load_sources

    with friendly():
        table = Table("source", "licence", "genre", "language", "package")
        for source in load_sources():
            package = f"{source.client}: {', '.join(source.packages)}"
            table.add_row(source.name, source.licence, source.genre, source.language, package)
        console.print(table)
