"""`hearth sae import`."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from services.saelab.cli_options import console, friendly, progress_bar, sae_app
from services.saelab.diagnosis_table import diagnosis_table, verdict

if TYPE_CHECKING:  # They bring torch.
    from services.inference.sae.base import Sae
    from services.inference.sae.doctor import Check, Diagnosis
    from services.saelab.importing.importer import Imported

_HELP = (
    "Import a ready SAE, and labels for it: converted, examined on its model, and written as a folder to serve.\n\n"
    "The doctor checks that the SAE fits the model: width, block, variance explained. What does not fit is refused, "
    "and the folder is written whole or not at all. Labels are checked too: an export's own examples are run through "
    "the model, and must fire."
)
_EPILOG = """Examples, each of an SAE that was downloaded into a folder of that name:

[bold]hearth sae import ./layer_12/width_16k/average_l0_82 --model google/gemma-2-2b --out models/gemma-l12[/]

[bold]hearth sae import ./Llama3_1-8B-Base-L15R-8x --out models/llama-l15 --labels ./15-llamascope-res-32k[/]

[bold]hearth sae import models/gemma-l12 --out models/gemma-l12 --labels names.csv[/]   (adds labels to it)

docs/importing.md has one for every format."""


class Weights(StrEnum):
    """Type of the two matrices."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


@sae_app.command("import", help=_HELP, epilog=_EPILOG)
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The SAE's folder or file.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="Folder to write; SOURCE itself adds labels to it.", show_default=False)
    ],
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="auto, saelens, gemma_scope, llama_scope, goodfire or sparsify; auto tells by the files' names.",
        ),
    ] = "auto",
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Labels: a Neuronpedia export, a delphi run, a labels.parquet, or a .csv or .jsonl with index and "
            "label. May be given several times; where two have a label for a feature, the first counts.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Hugging Face id or folder of the model; the one that the SAE's files name unless given.",
            show_default=False,
        ),
    ] = None,
    hook_point: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Block whose output it reads, such as model.layers.12; what its files say unless given.",
            show_default=False,
        ),
    ] = None,
    sae_id: Annotated[
        str | None,
        typer.Option(
            "--id", help="Id to serve it under; one made of its path unless given.", show_default=False
        ),
    ] = None,
    norm_scaling_factor: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="R",
            help="What the stream is multiplied by before the SAE, for files that leave it out.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Weights, typer.Option(help="float16 halves the size and rounds the two matrices.")
    ] = Weights.FLOAT32,
    allow_mismatch: Annotated[
        bool,
        typer.Option("--allow-mismatch", help="Import even what does not fit the model.", show_default=False),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite what is in the folder.", show_default=False)
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where the doctor computes: cpu or cuda; auto takes cuda if there.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; all unless given.", min=1, show_default=False)
    ] = None,
) -> None:
    """Import a ready SAE, and labels for it."""
    from services.saelab.importing.importer import ImportSettings, Watch, import_sae

    settings = ImportSettings(
        source,
        out,
        tuple(labels or ()),
        None if format_name == "auto" else format_name,
        model,
        hook_point,
        sae_id,
        norm_scaling_factor,
        weights.value,
        allow_mismatch,
        replace,
        device,
        threads,
    )
    with friendly(), progress_bar() as bar:
        examining = bar.add_task("loading the model and examining", total=1, visible=False)
        tasks = {"": examining}

        def found(name: str, sae: Sae, model: str) -> None:
            bar.print(_found(source, name, sae, model))
            bar.update(examining, visible=True)

        def examined(diagnosis: Diagnosis) -> None:
            bar.update(examining, visible=False)
            bar.print(diagnosis_table(diagnosis.sae.id, diagnosis.checks))
            bar.print(verdict(diagnosis.checks, refused=diagnosis.refused))

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(f"files of {what}", total=total)
            bar.update(tasks[what], completed=done)

        def checked(check: Check) -> None:
            bar.print(diagnosis_table("export", (check,)))

        imported = import_sae(settings, Watch(found, examined, checked, progress))
    _tell(imported)


def _found(source: Path, name: str, sae: Sae, model: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=f"found in {source}", title_justify="left", title_style="bold")
    for column in ("format", "features", "activation", "width", "reads", "model"):
        table.add_column(column, overflow="fold")
    w = sae.weights
    activation = w.architecture.value if w.k is None else f"{w.architecture.value}, k = {w.k}"
    table.add_row(name, f"{w.d_sae:,}", activation, f"{w.d_model:,}", sae.hook_point, model)
    return table


def _tell(imported: Imported) -> None:
    if imported.sets:
        table = Table("labels from", "format", "features", box=SIMPLE_HEAD)
        for each in imported.sets:
            table.add_row(str(each.path), each.format, f"{len(each.labels):,}")
        console.print(table)
    for note in imported.notes:
        console.print(f"- {escape(note)}", soft_wrap=True)
    said = [f"SAE {imported.sae.id}", f"{imported.labels:,} labels" if imported.labels else "no labels"]
    if imported.features:
        said.append(f"statistics of {imported.features:,} features")
    console.print(f"\n[bold green]Wrote[/] {escape(str(imported.folder))}: {escape(', '.join(said))}.")
    folder, model = shlex.quote(str(imported.folder)), shlex.quote(imported.model)
    console.print("Next:", style="bold")
    console.print(f"  hearth up --model {model} --sae {folder}", soft_wrap=True, markup=False)
    if not imported.features:
        first = f"hearth sae activations --model {model} --hook-point {imported.sae.hook_point}"
        console.print(f"  hearth sae features {folder} --model {model}", soft_wrap=True, markup=False)
        console.print(f"    measures every feature; needs `{first}` before", soft_wrap=True, markup=False)
    if not imported.labels:
        console.print(
            f"  hearth sae import {folder} --out {folder} --labels FILE", soft_wrap=True, markup=False
        )
        console.print(
            "    adds labels from elsewhere; `hearth sae label` makes some", soft_wrap=True, markup=False
        )
