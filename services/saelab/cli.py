"""`hearth sae`: makes and measures sparse autoencoders. Each step is a command; a killed one goes on when run again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from services.inference.cache import CacheSettings
from services.inference.embedded import EMBEDDED_MODEL_ID
from services.inference.sae.errors import SaeError
from services.inference.setup_errors import SetupError
from services.saelab.errors import SaeLabError

sae_app = typer.Typer(
    name="sae",
    help="Make and measure sparse autoencoders: corpus, activations, train, evaluate, steer, card - in this order.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
_console = Console(stderr=True, highlight=False)


def _default(name: str) -> Path:
    return CacheSettings.at().root / "saelab" / name


Corpus = Annotated[
    Path, typer.Option(help="Folder of the corpus.", default_factory=lambda: _default("corpus"))
]
Shards = Annotated[
    Path,
    typer.Option(
        help="Folder of the collected activations.", default_factory=lambda: _default("activations")
    ),
]
Model = Annotated[str, typer.Option(help="Hub id of a causal LM, or the folder of a checkpoint.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
Seed = Annotated[int, typer.Option(help="Same seed, same result.")]
SaeFolder = Annotated[Path, typer.Argument(help="Folder of the SAE.")]


@contextmanager
def _friendly() -> Iterator[None]:
    """Turns the errors that name what to do into one red line and exit status 1."""
    try:
        yield
    except (SaeLabError, SaeError, SetupError) as error:
        _console.print(f"[bold red]error:[/bold red] {error}", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _console.print("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None


def _progress(*columns: str) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(column) for column in columns),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_console,
    )


@sae_app.command()
def corpus(
    out: Corpus,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Your own .txt and .jsonl files (rows with text, or with messages)."),
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

    with _friendly():
        settings = CorpusSettings(
            out,
            tuple(files or ()),
            sources,
            skip=tuple(skip or ()),
            characters=characters,
            chat_share=chat_share,
        )
        with _console.status("making the corpus") as status:
            manifest = build_corpus(settings, lambda line: status.update(line))
        table = Table("source", "documents", "characters", "held out", title=f"corpus in {out}")
        for name, row in manifest["train"].items():
            held = manifest["heldout"].get(name, {"documents": 0})
            table.add_row(name, f"{row['documents']:,}", f"{row['characters']:,}", f"{held['documents']:,}")
        _console.print(table)


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

    with _friendly(), _progress() as bar:
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
        Path, typer.Option(help="Folder of the checkpoint.", default_factory=lambda: _default("run"))
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
    threads: Threads = 2,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Train an SAE on collected activations and save it in SAELens' format; goes on from the last checkpoint."""
    from services.saelab.pipeline import train_and_save
    from services.saelab.train import Metrics, TrainSettings

    with (
        _friendly(),
        _progress(
            "VE {task.fields[ve]:.3f}", "L0 {task.fields[l0]:.0f}", "dead {task.fields[dead]:.1%}"
        ) as bar,
    ):
        task = bar.add_task("training steps", total=None, ve=0.0, l0=0.0, dead=0.0)

        def show(metrics: Metrics, steps: int) -> None:
            bar.update(
                task,
                completed=metrics.step,
                total=steps,
                ve=metrics.variance_explained,
                l0=metrics.l0,
                dead=metrics.dead,
            )

        settings = TrainSettings(
            activations,
            run,
            features,
            k,
            batch,
            epochs,
            learning_rate,
            dead_tokens=dead_tokens,
            seed=seed,
            device=device,
            threads=threads,
        )
        train_and_save(settings, corpus, out, sae_id or out.resolve().name, show)


@sae_app.command()
def evaluate(
    sae: SaeFolder,
    corpus: Corpus,
    activations: Shards,
    model: Model = EMBEDDED_MODEL_ID,
    cross_entropy_tokens: Annotated[
        int, typer.Option(help="Tokens of each kind of text for cross-entropy.")
    ] = 12_000,
    threads: Threads = 2,
    device: Device = "cpu",
) -> None:
    """Measure an SAE on held-out documents; writes metrics.json and the activation scales."""
    from services.saelab.evaluate import EvaluateSettings
    from services.saelab.evaluate import evaluate as measure

    with _friendly():
        settings = EvaluateSettings(
            sae,
            corpus,
            activations,
            model,
            cross_entropy_tokens=cross_entropy_tokens,
            device=device,
            threads=threads,
        )
        with _progress() as bar:
            tasks: dict[str, Any] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what)
                bar.update(tasks[what], completed=done, total=total)

            found = measure(settings, progress=show)
        _console.print_json(json.dumps(found))


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

    with _friendly():
        settings = SteerSettings(sae, model, candidates=candidates, device=device, threads=threads)
        with _progress() as bar:
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
        _console.print(table)


@sae_app.command()
def card(sae: SaeFolder) -> None:
    """Write the model card from what the other steps measured."""
    from services.saelab.card import write_card

    with _friendly():
        _console.print(f"wrote {write_card(sae)}")
