"""`hearth sae label`, `hearth sae score` and `hearth sae report`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.saelab.cli_options import (
    Corpus,
    Device,
    Model,
    SaeFolder,
    Seed,
    Threads,
    console,
    default_folder,
    friendly,
    progress_bar,
    sae_app,
)

if TYPE_CHECKING:
    from services.saelab.label.workbench import Workbench

_LANGUAGE_MODELS = "Of `openai` and `model`: "
Texts = Annotated[
    list[Path] | None,
    typer.Option(
        "--text",
        help="Documents (JSON lines) that labels are made from and tested on; may be repeated. Self-written text and "
        "the corpus's training part unless set, as far as they are there.",
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(help="Folder of what is collected; in the cache, named after the SAE, unless set."),
]
Tokens = Annotated[int, typer.Option(help="Tokens of the texts to read, at most.", min=1)]
Some = Annotated[
    int | None, typer.Option("--features", help="Only so many features, drawn at random.", min=1)
]
Url = Annotated[str, typer.Option(help="Of `openai`: the endpoint's base, such as http://127.0.0.1:8000/v1.")]
Asked = Annotated[
    str, typer.Option("--ask", help=_LANGUAGE_MODELS + "the model that is asked; the SAE's own unless set.")
]
Key = Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="Of `openai`: what the endpoint asks for.")]
Concurrency = Annotated[int, typer.Option(help="Of `openai`: questions asked side by side.", min=1)]
Deadline = Annotated[float, typer.Option(help="Of `openai`: seconds that an answer may take.", min=0.1)]


@sae_app.command()
def label(
    sae: SaeFolder,
    corpus: Corpus,
    text: Texts = None,
    explainer: Annotated[
        str,
        typer.Option(
            help="offline (no language model), model (one on our own engine), or openai (an endpoint)."
        ),
    ] = "offline",
    titles: Annotated[
        bool, typer.Option(help="Offline: name concepts by titles of the corpus's encyclopaedia.")
    ] = True,
    features: Some = None,
    ask: Asked = "",
    url: Url = "",
    key: Key = "",
    concurrency: Concurrency = 8,
    deadline: Deadline = 60.0,
    work: Work = None,
    model: Model = EMBEDDED_MODEL_ID,
    tokens: Tokens = 600_000,
    threads: Threads = 2,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Give every feature a short readable label with its evidence; writes labels.parquet. Test them with `score`."""
    from services.saelab.label.explainers import ExplainerSettings
    from services.saelab.label.steps import label_features

    with friendly(), _bench(sae, corpus, text, work, model, tokens, threads, device, seed) as bench:
        folder = corpus if titles and corpus.is_dir() else None
        settings = ExplainerSettings(explainer, ask, url, key, folder, concurrency, deadline)
        _show(bench, label_features(bench, settings, features))


@sae_app.command()
def score(
    sae: SaeFolder,
    corpus: Corpus,
    text: Texts = None,
    judge: Annotated[
        str, typer.Option(help="Who tells what labels fit: offline, model or openai, as for labels.")
    ] = "offline",
    active: Annotated[
        int | None,
        typer.Option(help="Held-out contexts with the feature active; 120 offline, else 10.", min=5),
    ] = None,
    silent: Annotated[
        int | None, typer.Option(help="Held-out contexts without it; 240 offline, else 15.", min=5)
    ] = None,
    features: Some = None,
    ask: Asked = "",
    url: Url = "",
    key: Key = "",
    concurrency: Concurrency = 8,
    deadline: Deadline = 60.0,
    work: Work = None,
    model: Model = EMBEDDED_MODEL_ID,
    tokens: Tokens = 600_000,
    threads: Threads = 2,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Test the labels on contexts that they were not made from, beside other features' labels; into labels.parquet."""
    from services.saelab.label.contexts import SampleSizes
    from services.saelab.label.explainers import ExplainerSettings
    from services.saelab.label.steps import score_features

    offline = judge == "offline"
    sizes = SampleSizes(active or (120 if offline else 10), silent or (240 if offline else 15))
    with friendly(), _bench(sae, corpus, text, work, model, tokens, threads, device, seed, sizes) as bench:
        settings = ExplainerSettings(judge, ask, url, key, None, concurrency, deadline)
        _show(bench, score_features(bench, settings, features))


@sae_app.command()
def report(
    sae: SaeFolder,
    features: Annotated[int, typer.Option(help="Features shown, drawn at random.", min=1)] = 100,
    seed: Seed = 0,
) -> None:
    """Write features.md: features drawn at random with label, scores, examples and promoted tokens."""
    from services.saelab.label.report import write_report

    with friendly():
        console.print(f"wrote {write_report(sae, features, seed)}")


@contextmanager
def _bench(
    sae: Path,
    corpus: Path,
    text: list[Path] | None,
    work: Path | None,
    model: str,
    tokens: int,
    threads: int,
    device: str,
    seed: int,
    sizes: Any = None,
) -> Iterator[Workbench]:
    from services.inference.sae.formats import load_sae
    from services.saelab.documents import TRAIN
    from services.saelab.errors import CorpusError
    from services.saelab.label.contexts import SampleSizes
    from services.saelab.label.workbench import LabelSettings, Workbench

    usual = [default_folder("written") / "written.jsonl", corpus / TRAIN]
    files = tuple(text or [file for file in usual if file.is_file()])
    if not files:
        raise CorpusError("no texts: write some with `hearth sae write`, or name a file with --text")
    if work is None:
        loaded = load_sae(sae)
        work = default_folder("labels") / f"{loaded.id}-{loaded.weights_digest[:8]}"
    vectors = default_folder("vectors")
    settings = LabelSettings(
        sae, files, work, vectors, model, tokens, sizes or SampleSizes(), seed, device, threads
    )
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if total and what not in tasks:
                tasks[what] = bar.add_task(what)
            if what in tasks:
                bar.update(tasks[what], completed=done, total=total)

        yield Workbench(settings, show)


def _show(bench: Workbench, labels: Any) -> None:
    from services.saelab.label.steps import summarise

    found = summarise(bench, labels)
    table = Table("live features", "with a label", "tested", "beat the null", "detection", "fuzzing")
    table.add_row(
        f"{found.live:,}",
        f"{found.explained:,}",
        f"{found.tested:,}",
        f"{found.labelled:,} ({100 * found.labelled / max(1, found.live):.1f} %)"
        if found.tested
        else "not tested",
        f"{found.score:.3f}" if found.score is not None else "",
        f"{found.fuzzing:.3f}" if found.fuzzing is not None else "",
    )
    console.print(table)
