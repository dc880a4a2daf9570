"""What the commands of `hearth sae` share: the app they register on, options, progress bars, errors on one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from services.fetched.cache import CacheSettings
from services.fetched.errors import SetupError
from services.inference.sae.errors import SaeError
from services.saelab.errors import SaeLabError

sae_app = typer.Typer(
    name="sae",
    help="Make and measure sparse autoencoders: corpus, activations, train, evaluate, steer, features, card, in order.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
console = Console(stderr=True, highlight=False)


def default_folder(name: str) -> Path:
    """Where a step keeps its work unless told: a folder of the cache."""
    return CacheSettings.at().root / "saelab" / name


Corpus = Annotated[
    Path, typer.Option(help="Folder of the corpus.", default_factory=lambda: default_folder("corpus"))
]
Shards = Annotated[
    Path,
    typer.Option(
        help="Folder of the collected activations.", default_factory=lambda: default_folder("activations")
    ),
]
Model = Annotated[str, typer.Option(help="Hub id of a causal LM, or the folder of a checkpoint.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
SaeFolder = Annotated[Path, typer.Argument(help="Folder of the SAE.")]


@contextmanager
def friendly() -> Iterator[None]:
    """Turns the errors that name what to do into one red line and exit status 1."""
    try:
        yield
    except (SaeLabError, SaeError, SetupError) as error:
        console.print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None


def progress_bar(*columns: str) -> Progress:
    """A bar for tasks of known length; `columns` are further formats of rich, such as `"{task.fields[loss]}"`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(column) for column in columns),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
